"""Newton's method on smooth margin losses."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor

from gradshape.learners.logistic import fit_logistic
from gradshape.learners.margin_loss import Logistic, MarginLoss, SmoothedHinge, SquaredMargin

LOSSES: list[MarginLoss] = [Logistic(), SquaredMargin(), SmoothedHinge(0.01)]
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)


def _problem(rows: int = 60, width: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, width, dtype=torch.float64, generator=generator)
    return x, torch.where(x[:, 0] + torch.randn(rows, generator=generator) > 0, 1.0, -1.0).double()


def test_it_is_the_logistic_regression_of_scikit_learn() -> None:
    x, signs = _problem()
    reference = LogisticRegression(C=2.0, fit_intercept=False, tol=1e-10, max_iter=1000).fit(x.numpy(), signs.numpy())
    np.testing.assert_allclose(fit_logistic(x, signs, ridge=0.5).numpy(), reference.coef_[0], atol=1e-6)


def test_the_squared_margin_is_ridge_regression_on_the_labels() -> None:
    x, signs = _problem()
    reference = Ridge(alpha=0.5, fit_intercept=False).fit(x.numpy(), signs.numpy())
    found = fit_logistic(x, signs, ridge=0.5, loss=SquaredMargin())
    np.testing.assert_allclose(found.numpy(), reference.coef_, atol=1e-9)


@each_loss
def test_the_gradient_vanishes(loss: MarginLoss) -> None:
    x, signs = _problem()
    tilt = torch.linspace(-1, 1, 5, dtype=torch.float64)
    theta = fit_logistic(x, signs, ridge=0.1, loss=loss, tilt=tilt)
    gradient = (signs * loss.slope(signs * (x @ theta))) @ x + 0.1 * theta + tilt
    assert gradient.abs().max() < 1e-6


@each_loss
def test_slope_and_curvature_are_derivatives(loss: MarginLoss) -> None:
    margins = torch.tensor([-2.0, 0.3, 0.995, 1.004, 3.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss.value(margins).sum(), margins, create_graph=True)
    torch.testing.assert_close(loss.slope(margins), slope)
    (curvature,) = torch.autograd.grad(loss.slope(margins).sum(), margins)
    torch.testing.assert_close(loss.curvature(margins), curvature)


@pytest.mark.parametrize("axis", ["tilt", "signs", "rows", "ridge"])
def test_a_batch_equals_its_problems_one_by_one(axis: str) -> None:
    x, signs = _problem()
    tilts = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    flipped = torch.stack([signs, -signs, signs.flip(0)])
    rows = torch.stack([x, x.flip(1), x / 2])
    ridges = torch.tensor([[0.1], [1.0], [5.0]], dtype=torch.float64)
    batch = {
        "tilt": lambda: fit_logistic(x, signs, ridge=1.0, tilt=tilts),
        "signs": lambda: fit_logistic(x, flipped, ridge=1.0),
        "rows": lambda: fit_logistic(rows, signs, ridge=1.0),
        "ridge": lambda: fit_logistic(x, signs, ridge=ridges),
    }[axis]()
    singles = [
        {
            "tilt": lambda k=k: fit_logistic(x, signs, ridge=1.0, tilt=tilts[k]),
            "signs": lambda k=k: fit_logistic(x, flipped[k], ridge=1.0),
            "rows": lambda k=k: fit_logistic(rows[k], signs, ridge=1.0),
            "ridge": lambda k=k: fit_logistic(x, signs, ridge=float(ridges[k])),
        }[axis]()
        for k in range(3)
    ]
    torch.testing.assert_close(batch, torch.stack(singles), atol=1e-8, rtol=1e-8)


def test_a_start_changes_nothing() -> None:
    x, signs = _problem()
    start = torch.full((5,), 3.0, dtype=torch.float64)
    torch.testing.assert_close(fit_logistic(x, signs, ridge=1.0, start=start), fit_logistic(x, signs, ridge=1.0))


@pytest.mark.parametrize("ridge", [0.0, -1.0, float("nan")])
def test_a_ridge_that_is_none_is_named(ridge: float) -> None:
    with pytest.raises(ValueError, match=f"ridge={ridge!r}"):
        fit_logistic(*_problem(), ridge=ridge)
