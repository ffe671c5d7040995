"""Maxima and projections over ball, slab and box together."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from gradshape.constraints import SphereSlab
from gradshape.constraints._boxed_ball import maximise_boxed
from tests.constraints.sets import points_of, random_set


def _by_slsqp(one: SphereSlab, g: Tensor, curvature: float) -> float:
    """The maximum of ``g . u - curvature/2 |u|^2``, by a general solver."""
    slope, centroid, axis = g.numpy(), one.centroid.numpy(), one.axis.numpy()
    constraints: Any = [
        {"type": "ineq", "fun": lambda u: one.radius**2 - u @ u, "jac": lambda u: -2 * u},
        {"type": "ineq", "fun": lambda u: one.half_width - axis @ u, "jac": lambda u: -axis},
        {"type": "ineq", "fun": lambda u: one.half_width + axis @ u, "jac": lambda u: axis},
    ]
    options: Any = {"ftol": 1e-12, "maxiter": 500}
    result = minimize(  # type: ignore[call-overload]
        lambda u: curvature / 2 * u @ u - slope @ u,
        np.zeros(len(slope)),
        jac=lambda u: curvature * u - slope,
        bounds=[(-c, 1 - c) for c in centroid],
        constraints=constraints,
        method="SLSQP",
        options=options,
    )
    return -float(result.fun)


@pytest.mark.parametrize("curvature", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(60))
def test_value_and_bound_enclose_the_maximum_of_a_general_solver(seed: int, curvature: float) -> None:
    one, generator = random_set(seed, boxed=True)
    g = torch.randn(1, len(one.centroid), dtype=torch.float64, generator=generator)
    u, bound = maximise_boxed(
        g,
        centroid=one.centroid,
        radius=one.radius,
        axis=one.axis,
        half_width=one.half_width,
        curvature=curvature,
    )
    value = float((g * u).sum() - curvature / 2 * (u * u).sum())
    reference = _by_slsqp(one, g[0], curvature)
    assert value == pytest.approx(reference, abs=1e-6)
    assert bound.item() >= value - 1e-12
    assert bound.item() - value <= 2e-7
    assert one.contains(one.centroid + u, tolerance=1e-9).all()


@pytest.mark.parametrize("seed", range(60))
def test_no_point_of_the_set_is_above_the_bound(seed: int) -> None:
    one, generator = random_set(seed, boxed=True)
    g = torch.randn(5, len(one.centroid), dtype=torch.float64, generator=generator)
    points = points_of(one, 2000, generator)
    assert bool((g @ points.T <= one.maximise(g).bound[:, None] + 1e-12).all())


@pytest.mark.parametrize("seed", range(60))
def test_a_projection_cannot_be_improved_on(seed: int) -> None:
    one, generator = random_set(seed, boxed=True)
    away = one.centroid + 2 * torch.randn(3, len(one.centroid), dtype=torch.float64, generator=generator)
    near = one.project(away)
    assert one.contains(near, tolerance=1e-9).all()
    beyond = one.maximise(away - near).bound - ((away - near) * near).sum(1)
    assert float(beyond.max()) <= 1e-6


def test_problems_are_solved_alike_alone_and_together() -> None:
    one, generator = random_set(11, boxed=True)
    g = torch.randn(9, len(one.centroid), dtype=torch.float64, generator=generator)
    together = one.maximise(g)
    alone = torch.cat([one.maximise(row[None]).value for row in g])
    assert torch.allclose(together.value, alone, rtol=0, atol=1e-7)


def test_the_box_binds_where_the_ball_reaches_beyond_it() -> None:
    one = SphereSlab(
        torch.tensor([0.9, 0.5]).double(), 0.3, torch.tensor([0.0, 1.0]).double(), half_width=1.0, boxed=True
    )
    found = one.maximise(torch.tensor([[1.0, 0.0], [1.0, 1e-6]]))
    assert found.value.tolist() == pytest.approx([1.0, 1.0], abs=1e-5)
    assert found.x[1].tolist() == pytest.approx([1.0, 0.5 + (0.09 - 0.01) ** 0.5])


def test_many_features_on_the_edge_of_the_box() -> None:
    generator = torch.Generator().manual_seed(0)
    centroid = (torch.rand(784, dtype=torch.float64, generator=generator) - 0.6).clamp_min(0)
    axis = torch.randn(784, dtype=torch.float64, generator=generator)
    one = SphereSlab(centroid, 5.0, axis / axis.norm(), half_width=0.2, boxed=True)
    g = torch.randn(6, 784, dtype=torch.float64, generator=generator) + axis
    found = one.maximise(g)
    assert float((found.bound - found.value).max()) <= 1e-7 * float(g.norm(dim=1).max())
    assert one.contains(found.x, tolerance=1e-9).all()
