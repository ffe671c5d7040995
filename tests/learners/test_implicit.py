"""Gradients through the optimality condition of linear classifiers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gradshape.learners.implicit import adjoint, label_gradient, mixture_gradient, row_gradient
from gradshape.learners.logistic import fit_logistic
from gradshape.learners.margin_loss import Logistic, MarginLoss, SmoothedHinge, SquaredMargin

LOSSES: list[MarginLoss] = [Logistic(), SquaredMargin(), SmoothedHinge(0.3)]
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
RIDGE, STEP = 0.7, 1e-5


def _problem(seed: int = 0, rows: int = 12, width: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, width, dtype=torch.float64, generator=generator)
    signs = torch.where(torch.rand(rows, generator=generator) < 0.5, -1.0, 1.0).double()
    return x, signs, torch.randn(width, dtype=torch.float64, generator=generator)


def _differences(objective: Callable[[Tensor], float], point: Tensor) -> Tensor:
    flat = point.flatten()
    slopes = []
    for i in range(len(flat)):
        ends = []
        for side in (STEP, -STEP):
            moved = flat.clone()
            moved[i] += side
            ends.append(objective(moved.reshape(point.shape)))
        slopes.append((ends[0] - ends[1]) / (2 * STEP))
    return torch.tensor(slopes, dtype=torch.float64).reshape(point.shape)


def _attained(theta: Tensor, intended: Tensor) -> float:
    return float((theta - intended).square().sum() / 2)


def _relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@each_loss
@pytest.mark.parametrize("relaxed", [False, True], ids=["binary", "between"])
def test_the_label_gradient_equals_finite_differences(loss: MarginLoss, relaxed: bool) -> None:
    x, signs, intended = _problem()
    z = signs * torch.linspace(0.2, 0.9, len(signs), dtype=torch.float64) if relaxed else signs
    theta = fit_logistic(x, z, ridge=RIDGE, loss=loss)[None]
    q = adjoint(x, z, theta, theta - intended, ridge=RIDGE, loss=loss)
    found = label_gradient(x, z, theta, q, loss=loss)[0]
    expected = _differences(lambda at: _attained(fit_logistic(x, at, ridge=RIDGE, loss=loss), intended), z)
    assert _relative(found, expected) < 1e-5


@each_loss
def test_the_row_gradient_equals_finite_differences(loss: MarginLoss) -> None:
    x, signs, intended = _problem(1)
    theta = fit_logistic(x, signs, ridge=RIDGE, loss=loss)[None]
    q = adjoint(x, signs, theta, theta - intended, ridge=RIDGE, loss=loss)
    found = row_gradient(x, signs, theta, q, loss=loss)
    expected = _differences(lambda at: _attained(fit_logistic(at, signs, ridge=RIDGE, loss=loss), intended), x)
    assert _relative(found, expected) < 1e-5


@each_loss
def test_the_row_gradient_is_summed_over_tilted_problems(loss: MarginLoss) -> None:
    x, signs, intended = _problem(2)
    tilts = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    theta = fit_logistic(x, signs, ridge=RIDGE, loss=loss, tilt=tilts)
    q = adjoint(x, signs, theta, theta - intended, ridge=RIDGE, loss=loss)
    found = row_gradient(x, signs, theta, q, loss=loss)
    expected = _differences(
        lambda at: _attained(fit_logistic(at, signs, ridge=RIDGE, loss=loss, tilt=tilts), intended), x
    )
    assert _relative(found, expected) < 1e-5


def _fit_mixture(x: Tensor, z: Tensor, loss: MarginLoss, start: Tensor) -> Tensor:
    """By plain Newton steps from nearby, on the rows twice, once with each label, weighted."""
    rows, signs = torch.cat([x, x]), torch.cat([torch.ones_like(z), -torch.ones_like(z)])
    weights = torch.cat([(1 + z) / 2, (1 - z) / 2])
    theta = start
    for _ in range(8):
        margins = signs * (rows @ theta)
        gradient = rows.T @ (weights * signs * loss.slope(margins)) + RIDGE * theta
        curvature = rows.T @ ((weights * loss.curvature(margins))[:, None] * rows) + RIDGE * torch.eye(len(theta))
        theta = theta - torch.linalg.solve(curvature, gradient)
    return theta


@each_loss
def test_the_mixture_gradient_equals_finite_differences(loss: MarginLoss) -> None:
    # Weights of -STEP are no harm: the objective stays convex.
    x, z, intended = _problem(3)
    theta = fit_logistic(x, z, ridge=RIDGE, loss=loss)[None]
    q = adjoint(x, z, theta, theta - intended, ridge=RIDGE, loss=loss)
    found = mixture_gradient(x, theta, q, loss=loss)[0]
    expected = _differences(lambda at: _attained(_fit_mixture(x, at, loss, theta[0]), intended), z)
    assert _relative(found, expected) < 1e-5
