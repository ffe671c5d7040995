import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gradshape.attacks.feature_collision._simplex import nearest_in_polytope, project_simplex


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _of_simplex(*shape: int) -> Tensor:
    values = _normal(*shape, seed=3).square()
    return values / values.sum(-1, keepdim=True)


def _residual(corners: Tensor, goal: Tensor, coefficients: Tensor) -> Tensor:
    residual: Tensor = (goal - (coefficients.unsqueeze(-1) * corners).sum(-2)).norm(dim=-1)
    return residual


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=8))
def test_the_projection_is_feasible_and_nearest(values: list[float]) -> None:
    given_values = torch.tensor(values, dtype=torch.float64)
    projected = project_simplex(given_values)
    assert (projected >= 0).all()
    assert projected.sum().item() == pytest.approx(1)
    # Variational inequality: no corner of the simplex lies on the far side.
    away = given_values - projected
    assert ((torch.eye(len(values), dtype=torch.float64) - projected) @ away).max() <= 1e-9


def test_points_of_the_simplex_are_their_own_projections() -> None:
    points = _of_simplex(20, 5)
    torch.testing.assert_close(project_simplex(points), points, rtol=0, atol=1e-12)


@pytest.mark.parametrize("spread", [1.0, 0.05], ids=["around", "far"])
@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_the_nearest_point_of_a_polytope_satisfies_its_conditions(count: int, spread: float) -> None:
    goal, corners = _normal(7, 12), spread * _normal(7, count, 12, seed=1)
    corners = corners + (0 if spread < 1 else goal.unsqueeze(1))
    found = nearest_in_polytope(corners, goal, steps=20_000, tolerance=1e-15)
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum(-1), torch.ones(7).double())
    apart = (found.unsqueeze(-1) * corners).sum(-2) - goal
    slope = (corners @ apart.unsqueeze(-1)).squeeze(-1)
    least = (slope * found).sum(-1, keepdim=True)
    # On the support all slopes are equal, and elsewhere none is less.
    assert ((slope - least).abs()[found > 1e-9] < 1e-7).all()
    assert (slope >= least - 1e-7).all()
    uniform = torch.full_like(found, 1 / count)
    assert (_residual(corners, goal, found) <= _residual(corners, goal, uniform) + 1e-9).all()


def test_a_point_inside_is_reached() -> None:
    corners = _normal(4, 6, 3)
    weights = _of_simplex(4, 6)
    goal = (weights.unsqueeze(-1) * corners).sum(-2)
    found = nearest_in_polytope(corners, goal, tolerance=1e-12)
    assert _residual(corners, goal, found).max() < 1e-6


def test_a_start_changes_the_way_and_not_the_end() -> None:
    goal, corners = _normal(3, 8), _normal(3, 4, 8, seed=1)
    start = torch.eye(4, dtype=torch.float64)[:3]
    one, other = (nearest_in_polytope(corners, goal, start=s, tolerance=1e-13) for s in (None, start))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-7)


def test_problems_are_solved_as_if_alone() -> None:
    goal, corners = _normal(5, 8), _normal(5, 4, 8, seed=1)
    together = nearest_in_polytope(corners, goal, tolerance=1e-12)
    alone = torch.stack([nearest_in_polytope(*one, tolerance=1e-12) for one in zip(corners, goal, strict=True)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-7)


def test_corners_that_are_the_goal_need_no_step() -> None:
    found = nearest_in_polytope(torch.ones(2, 3, 4), torch.ones(2, 4))
    torch.testing.assert_close(found, torch.full((2, 3), 1 / 3))
