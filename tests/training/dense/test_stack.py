"""The step of a stack of dense networks agrees with per-sample gradients one victim at a time."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from gradshape import models
from gradshape.clipping import clip_weights, per_sample
from gradshape.shaping import Clip, Noise, Shaper, ShaperStack
from gradshape.training import SGD, Adam
from gradshape.training._dense.layout import Halved, Plain
from gradshape.training._dense.stack import DenseBatch, DenseStack
from gradshape.training._rows.matrix import RowMatrix
from tests.training.samples import blobs

VICTIMS, RATE, LIMIT = 3, 0.3, 0.2
of_every_shape = pytest.mark.parametrize(
    ("hidden", "classes", "halved"),
    [((), 2, True), ((), 2, False), ((), 5, False), ((7,), 2, False), ((9, 4), 3, False)],
    ids=["halved", "two-classes", "lr", "mlp-two-classes", "mlp"],
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


def stack_of(
    victims: list[nn.Sequential], hidden: tuple[int, ...], classes: int, halved: bool, descent: float | None
) -> DenseStack:
    names = list(victims[0].state_dict())
    layout = (Halved if halved else Plain)([5, *hidden, classes], list(zip(names[::2], names[1::2], strict=True)))
    stack = DenseStack(layout, len(victims), device=torch.device("cpu"), dtype=torch.float64, descent=descent)
    for place, victim in enumerate(victims):
        stack.write(stack.parameter, place, victim.state_dict())
    return stack


def stepped(victim: nn.Sequential, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    gradients = per_sample(victim, nn.CrossEntropyLoss(reduction="none"), x, y)
    total = gradients.weighted_sum(clip_weights(gradients.norms, LIMIT) / len(x))
    return {name: p.detach() - RATE * total[name] for name, p in victim.named_parameters()}


@of_every_shape
@pytest.mark.parametrize("private", [0, 3], ids=["shared-rows", "private-rows"])
def test_descent_is_a_step_along_the_shaped_gradient(
    hidden: tuple[int, ...], classes: int, halved: bool, private: int
) -> None:
    data, victims = blobs(classes=classes), networks(hidden, classes)
    x, y = data.train.x.double(), data.train.y
    stack = stack_of(victims, hidden, classes, halved, RATE)
    shapers = [Shaper((Clip(LIMIT),))] * stack.num_models
    rows_per_step = 8 + private
    shaping = ShaperStack(shapers, device=x.device, dtype=x.dtype, rows_per_step=rows_per_step)
    rows = RowMatrix.of(x, y, dtype=torch.float64, device=x.device)
    own = torch.arange(8, 8 + private * stack.num_models).view(stack.num_models, private) % len(x)
    stack.step(DenseBatch(rows[torch.arange(8)], rows[own] if private else None), rows_per_step, shaping)
    for place, victim in enumerate(victims):
        ids = torch.cat([torch.arange(8), own[place]])
        expected = stepped(victim, x[ids], y[ids])
        for name, value in stack.read(stack.parameter, place).items():
            torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-12)


@of_every_shape
def test_descent_is_what_an_optimizer_does_with_the_gradient(
    hidden: tuple[int, ...], classes: int, halved: bool
) -> None:
    data, victims = blobs(classes=classes), networks(hidden, classes)
    rows = RowMatrix.of(data.train.x.double(), data.train.y, dtype=torch.float64, device=torch.device("cpu"))
    at_once, by_gradient = (stack_of(victims, hidden, classes, halved, rate) for rate in (RATE, None))
    noise = torch.randn(2, 2, at_once.parameters_per_model, generator=torch.Generator().manual_seed(0)).double()
    for stack in (at_once, by_gradient):
        shapers = [Shaper((Clip(LIMIT),))] * stack.num_models
        shaping = ShaperStack(shapers, device=torch.device("cpu"), dtype=torch.float64, rows_per_step=len(rows))
        for step in range(2):
            stack.step(DenseBatch(rows), len(rows), shaping)
            stack.add_noise(stack.noise_layout(noise), step)
            if stack is by_gradient:
                stack.parameter.add_(stack.gradient, alpha=-RATE)
    for place in range(VICTIMS):
        expected = by_gradient.read(by_gradient.parameter, place)
        for name, value in at_once.read(at_once.parameter, place).items():
            torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-12)


@of_every_shape
def test_a_state_comes_back_as_it_was_loaded(hidden: tuple[int, ...], classes: int, halved: bool) -> None:
    victims = networks(hidden, classes)
    stack = stack_of(victims, hidden, classes, halved, None)
    for place, victim in enumerate(victims):
        for name, value in stack.read(stack.parameter, place).items():
            torch.testing.assert_close(value, victim.state_dict()[name], rtol=1e-15, atol=1e-15)


@of_every_shape
def test_a_logit_that_is_not_finite_is_no_class(hidden: tuple[int, ...], classes: int, halved: bool) -> None:
    victims = networks(hidden, classes)
    with torch.no_grad():
        next(victims[1].parameters())[-1, 0] = torch.nan
    stack = stack_of(victims, hidden, classes, halved, None)
    test = blobs(classes=classes).test
    x = RowMatrix.of(test.x, test.y, dtype=torch.float64, device=torch.device("cpu")).x
    found = stack.predictor(range(VICTIMS))(x)
    assert found.shape == (VICTIMS, 40)
    for place in (0, 2):
        assert torch.equal(found[place], victims[place](test.x.double()).argmax(1))
    if not hidden:
        assert (found[1] == -1).all()
    own = x[:2].expand(stack.num_models, -1, -1)
    assert torch.equal(stack.predict_own(own)[:VICTIMS], found[:, :2])


def test_two_classes_are_halved_where_the_optimizer_keeps_rows_opposite() -> None:
    quiet, noisy = Shaper((Clip(1.0),)), Clip(1.0) | Noise(0.1)
    assert Halved.fits([2], Adam(0.1), [quiet])
    assert Halved.fits([2], SGD(0.1, momentum=0.5), [quiet, noisy])
    assert not Halved.fits([2], Adam(0.1), [quiet, noisy])
    assert not Halved.fits([3], SGD(0.1), [quiet])
    assert not Halved.fits([4, 2], SGD(0.1), [quiet])


@pytest.mark.parametrize(
    ("widths", "halved"),
    [([784, 2], True), ([784, 2], False), ([13, 17, 5], False), ([784, 256, 10], False), ([20, 16, 3], False)],
    ids=str,
)
@pytest.mark.parametrize("victims", [1, 2, 5])
def test_single_precision_depends_neither_on_the_company_nor_on_the_place(
    widths: list[int], halved: bool, victims: int
) -> None:
    def last_of(count: int) -> dict[str, Tensor]:
        shape, classes = (widths[0],), widths[-1]
        models_of = []
        for seed in reversed(range(count)):
            generator = torch.Generator().manual_seed(seed)
            models_of.append([torch.randn(outputs, inputs, generator=generator) for inputs, outputs in pairs])
        layout = (Halved if halved else Plain)(widths, names)
        stack = DenseStack(layout, count, device=torch.device("cpu"), dtype=torch.float32)
        for place, weights in enumerate(models_of):
            state = {name: weight for (name, _), weight in zip(names, weights, strict=True)}
            stack.write(
                stack.parameter, place, state | {bias: torch.zeros(len(state[weight])) for weight, bias in names}
            )
        data = blobs(shape=shape, classes=classes)
        rows = RowMatrix.of(data.train.x, data.train.y, dtype=torch.float32, device=torch.device("cpu"))
        shapers = [Shaper((Clip(LIMIT),))] * stack.num_models
        shaping = ShaperStack(shapers, device=torch.device("cpu"), dtype=torch.float32, rows_per_step=len(rows))
        for _ in range(3):
            stack.step(DenseBatch(rows), len(rows), shaping)
            stack.parameter.add_(stack.gradient, alpha=-RATE)
        return stack.read(stack.parameter, count - 1)

    pairs = list(itertools.pairwise(widths))
    names = [(f"{layer}.weight", f"{layer}.bias") for layer in range(len(pairs))]
    got, expected = last_of(victims), last_of(8)
    assert all(torch.equal(got[name], expected[name]) for name in expected)


def test_every_model_of_the_paper_that_is_dense_is_a_stack() -> None:
    assert all(models.dense_layers(models.build(name, (4,), 3)) is not None for name in ("lr", "mlp", "mlp1"))
