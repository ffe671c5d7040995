"""Hinge-loss minimisation over a ball."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from gradshape.learners.hinge import fit_hinge, hinge_losses


def _problem(seed: int, *, rows: int = 14, width: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(rows) % 2
    x = torch.randn(rows, width, generator=generator) + (y[:, None] - 0.5)
    return x, y, torch.rand(rows, dtype=torch.float64, generator=generator)


def _by_slsqp(x: Tensor, y: Tensor, c: Tensor, rho: float) -> float:
    """The least weighted hinge loss, with one slack a row, by a general solver."""
    n, d = x.shape
    signed = (2 * y.numpy() - 1)[:, None] * np.hstack([x.double().numpy(), np.ones((n, 1))])
    slope = np.concatenate([np.zeros(d + 1), c.numpy()])
    jacobian = np.hstack([signed, np.eye(n)])
    constraints: Any = [
        {"type": "ineq", "fun": lambda v: jacobian @ v - 1, "jac": lambda v: jacobian},
        {
            "type": "ineq",
            "fun": lambda v: rho**2 - v[: d + 1] @ v[: d + 1],
            "jac": lambda v: np.concatenate([-2 * v[: d + 1], np.zeros(n)]),
        },
    ]
    options: Any = {"ftol": 1e-12, "maxiter": 500}
    result = minimize(  # type: ignore[call-overload]
        lambda v: slope @ v,
        np.concatenate([np.zeros(d + 1), np.ones(n)]),
        jac=lambda v: slope,
        bounds=[(None, None)] * (d + 1) + [(0, None)] * n,
        constraints=constraints,
        method="SLSQP",
        options=options,
    )
    return float(result.fun)


@pytest.mark.parametrize("rho", [0.3, 1.0, 10.0])
@pytest.mark.parametrize("seed", range(12))
def test_the_objective_is_that_of_a_general_solver(seed: int, rho: float) -> None:
    x, y, c = _problem(seed)
    fit = fit_hinge(x, y, rho=rho, weights=c)
    assert fit.objective == pytest.approx(_by_slsqp(x, y, c, rho), abs=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_the_gap_is_small_and_the_objective_is_attained_in_the_ball(seed: int) -> None:
    x, y, c = _problem(seed, rows=60, width=8)
    fit = fit_hinge(x, y, rho=0.7, weights=c, tolerance=1e-7)
    assert 0 <= fit.gap + 1e-12 <= 1e-7 * float(c.sum()) + 1e-12
    assert fit.objective == pytest.approx(float(c @ hinge_losses(x, y, fit.w, fit.b)), abs=1e-12)
    assert float(fit.w @ fit.w) + fit.b**2 <= 0.7**2 * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_no_classifier_of_the_ball_is_below_the_dual_value(seed: int) -> None:
    x, y, c = _problem(seed)
    fit = fit_hinge(x, y, rho=2.0, weights=c)
    generator = torch.Generator().manual_seed(seed)
    theta = torch.randn(500, 4, dtype=torch.float64, generator=generator)
    theta *= 2 * torch.rand(500, 1, dtype=torch.float64, generator=generator) / theta.norm(dim=1, keepdim=True)
    best = min(float(c @ hinge_losses(x, y, one[:-1], float(one[-1]))) for one in theta)
    assert fit.lower <= best


@pytest.mark.parametrize("rho", [0.3, 1.0, 10.0])
@pytest.mark.parametrize("seed", range(6))
def test_where_it_starts_changes_no_objective(seed: int, rho: float) -> None:
    x, y, c = _problem(seed, rows=60, width=8)
    cold = fit_hinge(x, y, rho=rho, weights=c)
    for near in (cold, fit_hinge(x, y, rho=rho), fit_hinge(x, 1 - y, rho=2 * rho)):
        warm = fit_hinge(x, y, rho=rho, weights=c, start=near)
        assert warm.gap <= 1e-6 * float(c.sum())
        assert warm.objective == pytest.approx(cold.objective, abs=2e-6 * float(c.sum()))
        assert float(warm.w.square().sum()) + warm.b**2 <= rho**2 * (1 + 1e-9)


def test_a_weight_counts_as_that_many_rows() -> None:
    x, y, _ = _problem(0)
    copies = torch.arange(14) % 4
    merged = fit_hinge(x, y, rho=1.0, weights=copies / 14)
    apart = fit_hinge(
        x.repeat_interleave(copies, dim=0),
        y.repeat_interleave(copies),
        rho=1.0,
        weights=torch.full((int(copies.sum()),), 1 / 14),
    )
    assert merged.objective == pytest.approx(apart.objective, abs=1e-5)


def test_the_mean_is_minimised_without_weights() -> None:
    x, y, _ = _problem(1)
    fit = fit_hinge(x, y, rho=1.0)
    assert fit.objective == pytest.approx(float(hinge_losses(x, y, fit.w, fit.b).mean()))


def test_rows_that_can_be_told_apart_cost_nothing_in_a_large_ball() -> None:
    x, y = torch.tensor([[0.0], [0.1], [0.9], [1.0]]), torch.tensor([0, 0, 1, 1])
    assert fit_hinge(x, y, rho=100.0).objective <= 1e-6


def test_rows_of_one_class_cost_what_the_longest_classifier_leaves() -> None:
    x = torch.tensor([[3.0, 0.0], [3.0, 0.0]])
    fit = fit_hinge(x, torch.ones(2, dtype=torch.int64), rho=0.1)
    assert fit.objective == pytest.approx(1 - 0.1 * math.sqrt(10), abs=1e-6)


def test_contradicting_rows_cost_one_each() -> None:
    x = torch.zeros(2, 3)
    assert fit_hinge(x, torch.tensor([0, 1]), rho=5.0).objective == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rho": 0.0}, r"rho=0\.0"),
        ({"tolerance": -1.0}, r"tolerance=-1\.0"),
        ({"weights": torch.tensor([1.0, -1.0])}, "weights"),
        ({"weights": torch.ones(3)}, r"weights of shape \(3,\): expected 2"),
    ],
    ids=["rho", "tolerance", "negative", "shape"],
)
def test_what_is_out_of_range_is_named(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_hinge(torch.rand(2, 2), torch.tensor([0, 1]), **({"rho": 1.0} | change))  # type: ignore[arg-type]


def test_rows_and_labels_are_checked() -> None:
    with pytest.raises(ValueError, match="at least 1 row"):
        fit_hinge(torch.rand(0, 2), torch.zeros(0, dtype=torch.int64), rho=1.0)
    with pytest.raises(ValueError, match=r"labels \[1, 2\]"):
        fit_hinge(torch.rand(2, 2), torch.tensor([1, 2]), rho=1.0)
    with pytest.raises(ValueError, match="expected finite rows"):
        fit_hinge(torch.tensor([[math.nan], [1.0]]), torch.tensor([0, 1]), rho=1.0)
