"""Unrolled gradient descent."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from gradshape.attacks.back_gradient._flat_models import Adaline, FlatModel, SoftmaxRegression, TanhNetwork
from gradshape.attacks.back_gradient._unrolled import (
    DifferentiatedLoss,
    Loss,
    Objective,
    back_gradient,
    descend,
    retrace,
)

MODELS: dict[str, FlatModel] = {
    "lr": SoftmaxRegression(4, 2),
    "lr-3": SoftmaxRegression(4, 3),
    "adaline": Adaline(4, 3),
    "mlp": TanhNetwork(4, 3, hidden=5),
}
RATE = 0.1
each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def _rows(points: Tensor) -> tuple[Tensor, Tensor]:
    """20 rows that stay, and labels of these and of points of class 1."""
    generator = _generator()
    x, y = torch.rand(20, 4, generator=generator).double(), torch.randint(2, (20,), generator=generator)
    return x, torch.cat([y, torch.ones(len(points), dtype=torch.int64)])


def _loss(model: FlatModel) -> Loss:
    def loss(parameters: Tensor, points: Tensor) -> Tensor:
        x, y = _rows(points)
        return model.losses(parameters, torch.cat([x, points]), y).mean()

    return loss


def _training(model: FlatModel, points: Tensor) -> Objective:
    x, y = _rows(points)
    return model.objective(x, y, torch.full((len(y),), 1 / len(y)).double(), points=points)


def _outer(model: FlatModel) -> Loss:
    others = torch.rand(30, 4, generator=_generator()).double()
    return lambda parameters, points: model.losses(parameters, others, (others[:, 0] > 0.5).long()).mean()


POINTS = torch.rand(2, 4, generator=torch.Generator().manual_seed(8)).double()


def _gradients(model: FlatModel, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of the points and of the start; and of the points where the descent is retraced."""
    training = _training(model, POINTS)
    path = descend(training, model.start(_generator()), rate=RATE, steps=steps)
    end = path[-1].clone().requires_grad_()
    [outer] = torch.autograd.grad(_outer(model)(end, POINTS), end)
    exact = back_gradient(training, outer, path[:-1].flip(0), rate=RATE)
    back = retrace(training, path[-1], rate=RATE, steps=steps)
    return exact.points, exact.start, back_gradient(training, outer, back, rate=RATE).points


@each_model
def test_the_gradient_of_the_points_is_a_finite_difference(model: FlatModel) -> None:
    found, _, _ = _gradients(model, steps=60)
    outer, start = _outer(model), model.start(_generator())

    def reached(points: Tensor) -> float:
        return float(outer(descend(_training(model, points), start, rate=RATE, steps=60)[-1], points))

    for index in range(POINTS.numel()):
        by = torch.zeros(POINTS.numel()).double()
        by[index] = 1e-5
        by = by.view_as(POINTS)
        difference = (reached(POINTS + by) - reached(POINTS - by)) / 2e-5
        assert abs(difference - float(found.flatten()[index])) < 1e-5 * float(found.norm())


@each_model
def test_the_gradients_are_those_of_the_descent_as_one_graph(model: FlatModel) -> None:
    of_points, of_start, _ = _gradients(model, steps=7)
    loss, outer = _loss(model), _outer(model)
    points, start = POINTS.clone().requires_grad_(), model.start(_generator()).requires_grad_()
    parameters = start
    for _ in range(7):
        [slope] = torch.autograd.grad(loss(parameters, points), parameters, create_graph=True)
        parameters = parameters - RATE * slope
    expected = torch.autograd.grad(outer(parameters, points), [points, start])
    torch.testing.assert_close(of_points, expected[0])
    torch.testing.assert_close(of_start, expected[1])


@each_model
def test_an_objective_differentiates_its_loss(model: FlatModel) -> None:
    generator = _generator()
    at, along = (torch.randn(len(model.start(generator)), generator=generator).double() for _ in range(2))
    own, reference = _training(model, POINTS), DifferentiatedLoss(_loss(model), POINTS)
    torch.testing.assert_close(own.slope(at), reference.slope(at))
    for found, expected in zip(own.slope_gradients(at, along), reference.slope_gradients(at, along), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("kind", "steps"), [("lr", 100), ("lr-3", 100), ("adaline", 80), ("mlp", 60)])
def test_retracing_comes_near(kind: str, steps: int) -> None:
    exact, _, retraced = _gradients(MODELS[kind], steps=steps)
    assert not torch.equal(exact, retraced)
    assert float((retraced - exact).norm()) < 4e-2 * float(exact.norm())


def _furthest(model: FlatModel, rate: float, corrections: int = 0) -> float:
    """How far the iterates that are retraced are from the descent's, over a time of 2."""
    training, steps = _training(model, POINTS), round(2 / rate)
    path = descend(training, model.start(_generator()), rate=rate, steps=steps)
    back = list(retrace(training, path[-1], rate=rate, steps=steps, corrections=corrections))
    return float((torch.stack(back).flip(0) - path[:-1]).norm(dim=1).max())


@each_model
def test_retracing_errs_less_with_smaller_steps(model: FlatModel) -> None:
    errors = [_furthest(model, rate) for rate in (0.1, 0.05, 0.025)]
    assert errors[0] > 1.5 * errors[1] > 1.5 * 1.5 * errors[2]


@each_model
def test_every_correction_comes_nearer(model: FlatModel) -> None:
    errors = [_furthest(model, 0.1, corrections) for corrections in (0, 1, 2, 3)]
    assert all(later < 0.5 * earlier for earlier, later in pairwise(errors))


def test_the_descent_is_plain() -> None:
    model = SoftmaxRegression(4, 2)
    loss, parameters = _loss(model), model.start(_generator())
    path = descend(_training(model, POINTS), parameters, rate=RATE, steps=3)
    for iterate in path:
        torch.testing.assert_close(iterate, parameters)
        at = parameters.clone().requires_grad_()
        parameters = parameters - RATE * torch.autograd.grad(loss(at, POINTS), at)[0]


def test_no_gradient_mode_of_the_caller_is_asked_for() -> None:
    with torch.no_grad():
        inside = _path_and_gradient()
    torch.testing.assert_close(inside, _path_and_gradient())


def _path_and_gradient() -> tuple[Tensor, Tensor]:
    model = TanhNetwork(4, 3, hidden=5)
    training = _training(model, POINTS)
    path = descend(training, model.start(_generator()), rate=RATE, steps=4)
    return path, back_gradient(training, torch.ones(path.shape[1]).double(), path[:-1].flip(0), rate=RATE).points


@pytest.mark.parametrize(("rate", "steps", "name"), [(0.0, 3, "rate"), (0.1, 0, "steps"), (float("nan"), 3, "rate")])
def test_a_descent_out_of_range_is_named(rate: float, steps: int, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}="):
        descend(_training(MODELS["lr"], POINTS), torch.zeros(10).double(), rate=rate, steps=steps)
