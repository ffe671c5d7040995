"""The step of a stack of dense networks agrees with per-sample gradients one victim at a time."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from gradshape import models
from gradshape.clipping import clip_weights, per_sample
from gradshape.shaping import Clip, Shaper, ShaperStack
from gradshape.training.dense import DenseStack, Rows, lanes_needed
from tests.training.samples import blobs

VICTIMS, RATE, LIMIT = 3, 0.3, 0.2
of_every_shape = pytest.mark.parametrize(
    ("hidden", "classes"),
    [((), 2), ((), 5), ((7,), 2), ((9, 4), 3)],
    ids=["two-classes", "lr", "mlp-two-classes", "mlp"],
)


def networks(hidden: tuple[int, ...], classes: int) -> list[nn.Sequential]:
    widths = [5, *hidden, classes]
    found = []
    for seed in range(VICTIMS):
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        network = nn.Sequential(*layers[:-1]).double()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for p in network.parameters():
                p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64))
        found.append(network)
    return found


def stack_of(victims: list[nn.Sequential], hidden: tuple[int, ...], classes: int, descent: float | None) -> DenseStack:
    names = list(victims[0].state_dict())
    widths = [5, *hidden, classes]
    pairs = list(zip(names[::2], names[1::2], strict=True))
    lanes = lanes_needed(len(victims), widths)
    stack = DenseStack(widths, pairs, lanes, device=torch.device("cpu"), dtype=torch.float64, descent=descent)
    for lane, victim in enumerate(victims):
        stack.load(lane, victim.state_dict())
    return stack


def stepped(victim: nn.Sequential, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    gradients = per_sample(victim, nn.CrossEntropyLoss(reduction="none"), x, y)
    total = gradients.weighted_sum(clip_weights(gradients.norms, LIMIT) / len(x))
    return {name: p.detach() - RATE * total[name] for name, p in victim.named_parameters()}


@of_every_shape
@pytest.mark.parametrize("private", [0, 3], ids=["shared-rows", "private-rows"])
def test_descent_is_a_step_along_the_shaped_gradient(hidden: tuple[int, ...], classes: int, private: int) -> None:
    data, victims = blobs(classes=classes), networks(hidden, classes)
    x, y = data.train.x.double(), data.train.y
    stack = stack_of(victims, hidden, classes, RATE)
    shapers = [Shaper((Clip(LIMIT),))] * stack.lanes
    rows_per_step = 8 + private
    shaping = ShaperStack(shapers, device=x.device, dtype=x.dtype, rows_per_step=rows_per_step)
    rows = Rows.of(x, y, classes, dtype=torch.float64, device=x.device)
    own = torch.arange(8, 8 + private * stack.lanes).view(stack.lanes, private) % len(x)
    stack.step(rows[torch.arange(8)], rows[own] if private else None, None, rows_per_step, shaping)
    for lane, victim in enumerate(victims):
        ids = torch.cat([torch.arange(8), own[lane]])
        expected = stepped(victim, x[ids], y[ids])
        for name, value in stack.state(lane).items():
            torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-12)


@of_every_shape
def test_descent_is_what_an_optimizer_does_with_the_gradient(hidden: tuple[int, ...], classes: int) -> None:
    data, victims = blobs(classes=classes), networks(hidden, classes)
    rows = Rows.of(data.train.x.double(), data.train.y, classes, dtype=torch.float64, device=torch.device("cpu"))
    at_once, by_gradient = (stack_of(victims, hidden, classes, rate) for rate in (RATE, None))
    noise = torch.randn(2, 2, at_once.parameters_per_victim, generator=torch.Generator().manual_seed(0)).double()
    for stack in (at_once, by_gradient):
        shapers = [Shaper((Clip(LIMIT),))] * stack.lanes
        shaping = ShaperStack(shapers, device=torch.device("cpu"), dtype=torch.float64, rows_per_step=len(rows))
        for step in range(2):
            stack.step(rows, None, None, len(rows), shaping)
            stack.add_noise(stack.noise_layout(noise), step)
            if stack is by_gradient:
                stack.parameter.add_(stack.gradient, alpha=-RATE)
    for lane in range(VICTIMS):
        expected = by_gradient.state(lane)
        for name, value in at_once.state(lane).items():
            torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("widths", [[784, 2], [13, 17, 5], [784, 256, 10], [20, 16, 3]], ids=str)
@pytest.mark.parametrize("victims", [1, 2, 5])
def test_single_precision_does_not_depend_on_the_company(widths: list[int], victims: int) -> None:
    def first_of(count: int) -> dict[str, Tensor]:
        shape, classes = (widths[0],), widths[-1]
        models_of = []
        for seed in range(count):
            generator = torch.Generator().manual_seed(seed)
            models_of.append([torch.randn(outputs, inputs, generator=generator) for inputs, outputs in pairs])
        stack = DenseStack(widths, names, lanes_needed(count, widths), device=torch.device("cpu"), dtype=torch.float32)
        for lane, weights in enumerate(models_of):
            state = {name: weight for (name, _), weight in zip(names, weights, strict=True)}
            stack.load(lane, state | {bias: torch.zeros(len(state[weight])) for weight, bias in names})
        data = blobs(shape=shape, classes=classes)
        rows = Rows.of(data.train.x, data.train.y, classes, dtype=torch.float32, device=torch.device("cpu"))
        shapers = [Shaper((Clip(LIMIT),))] * stack.lanes
        shaping = ShaperStack(shapers, device=torch.device("cpu"), dtype=torch.float32, rows_per_step=len(rows))
        for _ in range(3):
            stack.step(rows, None, None, len(rows), shaping)
            stack.parameter.add_(stack.gradient, alpha=-RATE)
        return stack.state(0)

    pairs = list(itertools.pairwise(widths))
    names = [(f"{layer}.weight", f"{layer}.bias") for layer in range(len(pairs))]
    got, expected = first_of(victims), first_of(8)
    assert all(torch.equal(got[name], expected[name]) for name in expected)


def test_every_model_of_the_paper_that_is_dense_is_a_stack() -> None:
    assert all(models.dense_layers(models.build(name, (4,), 3)) is not None for name in ("lr", "mlp", "mlp1"))
