from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet, LinearRegression, Ridge
from torch import Tensor

from gradshape.learners.linear import LinearFit, Penalty, fit_linear, row_gradients, training_objective
from gradshape.testing._datasets import plane_rows

ROWS = 60
X, Y = plane_rows(ROWS, features=6, noise=0.1)
WEIGHTS = torch.linspace(0, 3, ROWS, dtype=torch.float64)
PENALTIES = {
    "ols": Penalty(),
    "ridge": Penalty(l2=0.03),
    "lasso": Penalty(l1=0.006),
    "elastic-net": Penalty(l1=0.004, l2=0.02),
}
each_penalty = pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)


def sklearn_model(penalty: Penalty, total: float) -> Any:
    if penalty.l1:
        both = penalty.l1 + penalty.l2
        return ElasticNet(alpha=both, l1_ratio=penalty.l1 / both, tol=1e-13, max_iter=200_000)
    return Ridge(alpha=penalty.l2 * total) if penalty.l2 else LinearRegression()


@each_penalty
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["equal", "weighted"])
def test_fits_are_those_of_scikit_learn(penalty: Penalty, weights: Tensor | None) -> None:
    fit = fit_linear(X, Y, penalty=penalty, weights=weights)
    total = ROWS if weights is None else float(weights.sum())
    model = sklearn_model(penalty, total)
    model.fit(X.numpy(), Y.numpy(), sample_weight=None if weights is None else weights.numpy())
    np.testing.assert_allclose(fit.w, model.coef_, atol=1e-6)
    np.testing.assert_allclose(fit.b, model.intercept_, atol=1e-6)


@each_penalty
def test_no_move_lowers_the_objective(penalty: Penalty) -> None:
    fit = fit_linear(X, Y, penalty=penalty)
    least = training_objective(X, Y, fit, penalty=penalty)
    generator = torch.Generator().manual_seed(0)
    for scale in (1e-1, 1e-3, 1e-5):
        move = scale * torch.randn(7, dtype=torch.float64, generator=generator)
        there = LinearFit(fit.w + move[:6], fit.b + move[6])
        assert training_objective(X, Y, there, penalty=penalty) > least


def test_the_lasso_sets_weights_to_exactly_0() -> None:
    fit = fit_linear(X, Y, penalty=PENALTIES["lasso"])
    assert 0 < int((fit.w == 0).sum()) < 6


def test_a_large_lasso_penalty_leaves_the_mean() -> None:
    fit = fit_linear(X, Y, penalty=Penalty(l1=10))
    assert (fit.w == 0).all()
    assert float(fit.b) == pytest.approx(float(Y.mean()))


@each_penalty
def test_a_start_changes_nothing(penalty: Penalty) -> None:
    start = LinearFit(torch.tensor([1.0, -1, 0, 5, 0, -0.1]).double(), torch.tensor(0.0).double())
    usual, started = fit_linear(X, Y, penalty=penalty), fit_linear(X, Y, penalty=penalty, start=start)
    torch.testing.assert_close(usual.w, started.w, atol=1e-9, rtol=0)


def test_a_weight_is_a_number_of_equal_rows() -> None:
    counts = torch.arange(ROWS) % 3
    weighted = fit_linear(X, Y, penalty=PENALTIES["ridge"], weights=counts)
    repeated = fit_linear(X.repeat_interleave(counts, 0), Y.repeat_interleave(counts), penalty=PENALTIES["ridge"])
    torch.testing.assert_close(weighted.w, repeated.w)


def test_of_many_least_squares_fits_the_shortest_is_taken() -> None:
    doubled = torch.cat([X, X[:, :1]], dim=1)
    fit, model = fit_linear(doubled, Y), LinearRegression().fit(doubled.numpy(), Y.numpy())
    np.testing.assert_allclose(fit.w, model.coef_, atol=1e-8)


def test_more_features_than_rows_can_be_fitted() -> None:
    fit = fit_linear(X[:4], Y[:4])
    assert fit.mse(X[:4], Y[:4]) < 1e-16


@each_penalty
@pytest.mark.parametrize("weights", [None, WEIGHTS + 0.1], ids=["equal", "weighted"])
def test_the_jacobian_agrees_with_finite_differences(penalty: Penalty, weights: Tensor | None) -> None:
    """Row by row of ``d(w, b) / d(x_i, y_i)``, for two rows, poison or not: to 1e-5 of its size."""
    fit, step = fit_linear(X, Y, penalty=penalty, weights=weights), 1e-5
    basis = torch.eye(7, dtype=torch.float64)
    analytic = [row_gradients(X, Y, fit, e[:6], e[6], penalty=penalty, weights=weights) for e in basis]

    def moved(row: int, by: Tensor) -> Tensor:
        x, y = X.clone(), Y.clone()
        x[row] += by[:6]
        y[row] += by[6]
        there = fit_linear(x, y, penalty=penalty, weights=weights)
        return torch.cat([there.w, there.b[None]])

    for row in (3, 41):
        jacobian = torch.stack([torch.cat([by_x[row], by_y[row : row + 1]]) for by_x, by_y in analytic])
        numeric = torch.stack([(moved(row, step * e) - moved(row, -step * e)) / (2 * step) for e in basis], dim=1)
        assert float((jacobian - numeric).norm() / numeric.norm()) < 1e-5


@pytest.mark.parametrize(
    ("x", "y", "weights"),
    [
        pytest.param(X[:0], Y[:0], None, id="no rows"),
        pytest.param(X, Y[1:], None, id="unequal"),
        pytest.param(X, Y, torch.zeros(ROWS), id="all 0"),
        pytest.param(X, Y, -torch.ones(ROWS), id="negative"),
        pytest.param(X, Y, torch.ones(3), id="few weights"),
    ],
)
def test_bad_rows_are_refused(x: Tensor, y: Tensor, weights: Tensor | None) -> None:
    with pytest.raises(ValueError, match="expected"):
        fit_linear(x, y, weights=weights)


@pytest.mark.parametrize("name", ["l1", "l2"])
def test_a_negative_penalty_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}=-1: expected"):
        Penalty(**{name: -1})


@each_penalty
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_rows_that_are_not_finite_are_refused(penalty: Penalty, bad: float) -> None:
    x = X.clone()
    x[3, 2] = bad
    with pytest.raises(ValueError, match="60 rows with values that are not finite"):
        fit_linear(x, Y, penalty=penalty)


def test_labels_tell_penalties_apart() -> None:
    assert [penalty.label for penalty in PENALTIES.values()] == ["ols", "l2-0.03", "l1-0.006", "l1-0.004_l2-0.02"]
