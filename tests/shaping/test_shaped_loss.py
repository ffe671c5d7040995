"""A training loop whose criterion is wrapped takes the steps that are written out with per-sample gradients."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradshape.clipping import clipped_gradient, per_sample
from gradshape.shaping import (
    AdaptiveNoise,
    Clip,
    Noise,
    Normalize,
    QuantileClip,
    Reweight,
    ShapedLoss,
    Shaper,
    ShaperStack,
)
from gradshape.shaping.shaper import Part
from tests.clipping.naive import PER_SAMPLE_LOSS, Gradients, assert_equal, filled, labels, randn
from tests.clipping.test_inputs import Encoder, Output
from tests.shaping.loops import CLASSES, ROWS, Batch, call, every_model, generator, gradients, mlp, rows, words

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: torch.optim.AdamW(p, lr=0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
}


def state(model: nn.Module) -> Gradients:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def trained(
    build: Callable[[], nn.Module],
    batch: Callable[[int], Batch],
    criterion: Callable[..., Tensor],
    shaper: Part | Shaper,
    *,
    optimizer: str = "sgd",
    steps: int = 4,
) -> Gradients:
    """Train by the loop."""
    model = filled(build())
    steps_by = OPTIMIZERS[optimizer](model.parameters())
    with ShapedLoss(model, steps_by, criterion, shaper=shaper, generator=generator()) as shaped:
        for seed in range(steps):
            x, y = batch(seed)
            steps_by.zero_grad()
            shaped(call(model, x), y).mean().backward()
            steps_by.step()
    return state(model)


def by_hand(
    build: Callable[[], nn.Module],
    batch: Callable[[int], Batch],
    shaper: Shaper,
    *,
    optimizer: str = "sgd",
    steps: int = 4,
) -> Gradients:
    model, draws = filled(build()), generator()
    steps_by = OPTIMIZERS[optimizer](model.parameters())
    stack = ShaperStack([shaper], device=torch.device("cpu"), dtype=torch.float64)
    for seed in range(steps):
        x, y = batch(seed)
        samples = per_sample(model, PER_SAMPLE_LOSS, x, y)
        squares = samples.squares.unsqueeze(1)
        sums = samples.weighted_sum(stack.weights(squares).squeeze(-2))
        stack.observe(squares)
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=draws, dtype=p.dtype) * stack.noise_std() if shaper.noisy else 0
            p.grad = (sums[name] + noise) / ROWS
        steps_by.step()
    return state(model)


SHAPERS: dict[str, Shaper] = {
    "plain": Shaper(),
    "clip": Shaper((Clip(0.5),)),
    "clip-and-noise": Clip(0.5) | Noise(0.3),
    "by-layer": Clip(0.5, per_layer=True) | Noise(0.1),
    "normalize": Shaper((Normalize(1.0, stabilizer=0.1),)),
    "quantile": QuantileClip(0.5) | Noise(0.1),
    "adaptive-noise": Clip(1.0) | AdaptiveNoise(0.2) | Noise(0.1),
    "reweight": Shaper((Reweight(lambda norms: 1 / (1 + norms), "own", samplewise=True),)),
    "by-rank": Shaper((Reweight(lambda norms: norms.argsort().argsort().to(norms.dtype), "rank"),)),
}


@every_model
@pytest.mark.parametrize("shaper", SHAPERS.values(), ids=SHAPERS)
def test_the_loop_takes_the_steps_that_are_written_out(
    build: Callable[[], nn.Module], batch: Callable[[int], Batch], shaper: Shaper
) -> None:
    assert_equal(trained(build, batch, nn.CrossEntropyLoss(), shaper), by_hand(build, batch, shaper))


@every_model
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_it_does_so_with_any_optimizer(
    build: Callable[[], nn.Module], batch: Callable[[int], Batch], optimizer: str
) -> None:
    shaper = Clip(0.5) | Noise(0.1)
    got = trained(build, batch, nn.CrossEntropyLoss(), shaper, optimizer=optimizer)
    assert_equal(got, by_hand(build, batch, shaper, optimizer=optimizer))


CRITERIA: dict[str, Callable[..., Tensor]] = {
    "one-loss-a-row": nn.CrossEntropyLoss(reduction="none"),
    "a-function": lambda out, y: F.cross_entropy(out, y, reduction="none"),
    "of-torch": nn.NLLLoss(),
}


@every_model
@pytest.mark.parametrize("criterion", CRITERIA.values(), ids=CRITERIA)
def test_criteria_of_all_kinds_are_taken_by_the_row(
    build: Callable[[], nn.Module], batch: Callable[[int], Batch], criterion: Callable[..., Tensor]
) -> None:
    loss_fn = criterion if not isinstance(criterion, nn.NLLLoss) else nn.NLLLoss(reduction="none")
    model = filled(build())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = batch(0)
    expected, norms = clipped_gradient(model, loss_fn, x, y, max_norm=0.5)
    with ShapedLoss(model, optimizer, criterion, shaper=Clip(0.5)) as shaped:
        loss = shaped(call(model, x), y).mean()
        loss.backward()
        torch.testing.assert_close(shaped.norms, norms)
    torch.testing.assert_close(loss.detach(), loss_fn(call(model, x), y).mean().detach())
    assert_equal(gradients(model), expected)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_losses_of_several_entries_a_row_are_reduced_as_the_criterion_does(reduction: str) -> None:
    model, (x, _) = filled(mlp()), rows(0)
    y = randn(ROWS, CLASSES, seed=3)
    optimizer, criterion = torch.optim.SGD(model.parameters(), lr=0.1), nn.MSELoss(reduction=reduction)
    expected = torch.autograd.grad(criterion(model(x), y), list(model.parameters()))
    with ShapedLoss(model, optimizer, criterion, shaper=Shaper()) as shaped:
        loss = shaped(model(x), y)
        loss.backward()
    torch.testing.assert_close(loss.detach(), criterion(model(x), y).detach())
    for p, grad in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, grad)
    assert criterion.reduction == reduction


def test_backward_passes_add_up_before_a_step() -> None:
    model, (x, y) = filled(mlp()), rows(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    expected, _ = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=0.5)
    with ShapedLoss(model, optimizer, nn.CrossEntropyLoss(), shaper=Clip(0.5)) as shaped:
        for half in (slice(0, 3), slice(3, 6)):
            (shaped(model(x[half]), y[half]) / 2).backward()
    assert_equal(gradients(model), expected)


def test_factors_of_losses_multiply_shaped_gradients() -> None:
    model, (x, y) = filled(mlp()), rows(0)
    optimizer, factors = torch.optim.SGD(model.parameters(), lr=0.1), randn(ROWS, seed=4)
    samples = per_sample(model, PER_SAMPLE_LOSS, x, y)
    expected = samples.weighted_sum((0.5 / samples.norms).clamp(max=1) * factors)
    with ShapedLoss(model, optimizer, PER_SAMPLE_LOSS, shaper=Clip(0.5)) as shaped:
        (shaped(model(x), y) * factors).sum().backward()
    assert_equal(gradients(model), expected)


def test_outputs_may_have_the_logits_among_others() -> None:
    class Named(Encoder):
        def __init__(self) -> None:
            super().__init__(output=Output)

    model, (x, y) = filled(Named()), words(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    expected, _ = clipped_gradient(model, lambda out, y: PER_SAMPLE_LOSS(out.logits, y), x, y, max_norm=0.5)
    with ShapedLoss(model, optimizer, nn.CrossEntropyLoss(), shaper=Clip(0.5)) as shaped:
        output = model(x["input_ids"], attention_mask=x["attention_mask"])
        shaped(output.logits, y).backward()
    assert_equal(gradients(model), expected)


@every_model
def test_evaluation_saving_and_leaving_are_those_of_the_model(
    build: Callable[[], nn.Module], batch: Callable[[int], Batch]
) -> None:
    model, (x, y) = filled(build()), batch(0)
    plain, names, attributes = call(model, x), list(model.state_dict()), vars(model).keys() | set()
    optimizer, criterion = torch.optim.Adam(model.parameters()), nn.CrossEntropyLoss()
    expected = criterion(plain, y)
    with ShapedLoss(model, optimizer, criterion, shaper=Clip(1.0)) as shaped:
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
        shaped(call(model, x), y).backward()
        with torch.no_grad():
            model.eval()
            torch.testing.assert_close(call(model, x), plain)
            torch.testing.assert_close(shaped(call(model, x), y), expected)
            model.train()
        assert list(model.state_dict()) == names
        other = copy.deepcopy(model)
        torch.testing.assert_close(call(other, x), call(model, x))
        criterion(call(other, x), y).backward()
        optimizer.step()
        scheduler.step()
    assert vars(model).keys() == attributes
    optimizer.zero_grad()
    criterion(call(model, x), y).backward()
    grads = [p.grad for p in model.parameters()]
    assert all(grad is not None and grad.isfinite().all() for grad in grads)


def test_dropout_is_that_of_the_loop() -> None:
    model = filled(nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, CLASSES)))
    optimizer, (x, y) = torch.optim.SGD(model.parameters(), lr=0.1), rows(0)
    with (
        torch.random.fork_rng(devices=[]),
        ShapedLoss(model, optimizer, nn.CrossEntropyLoss(), shaper=Clip(math.inf)) as shaped,
    ):
        before = torch.get_rng_state()
        loss = shaped(model(x), y)
        loss.backward()
        shaped.close()
        torch.set_rng_state(before)
        expected = torch.autograd.grad(nn.functional.cross_entropy(model(x), y), list(model.parameters()))
    for p, grad in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, grad)


def test_one_logit_goes_through_a_criterion_that_takes_it_apart() -> None:
    model = filled(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = randn(ROWS, 4), labels(ROWS, 2).double()

    def loss_fn(out: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(out.squeeze(1), y, reduction="none")

    expected, _ = clipped_gradient(model, loss_fn, x, y, max_norm=0.2)
    with ShapedLoss(model, optimizer, loss_fn, shaper=Clip(0.2)) as shaped:
        shaped(model(x), y).mean().backward()
    assert_equal(gradients(model), expected)
    with ShapedLoss(model, optimizer, nn.BCEWithLogitsLoss(), shaper=Clip(0.2)) as shaped:
        optimizer.zero_grad()
        shaped(model(x), y.unsqueeze(1)).backward()
    assert_equal(gradients(model), expected)
