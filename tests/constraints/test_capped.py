"""Maxima over sets from which a half-space is cut."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from gradshape.constraints import SphereSlab
from gradshape.constraints.capped import maximise_capped
from tests.constraints.sets import random_set


def _by_slsqp(one: SphereSlab, g: Tensor, normal: Tensor, least: float) -> float:
    slope, centroid, axis, cut = (t.numpy() for t in (g, one.centroid, one.axis, normal))
    constraints: Any = [
        {"type": "ineq", "fun": lambda u: one.radius**2 - u @ u},
        {"type": "ineq", "fun": lambda u: one.half_width - axis @ u},
        {"type": "ineq", "fun": lambda u: one.half_width + axis @ u},
        {"type": "ineq", "fun": lambda u: cut @ (u + centroid) - least},
    ]
    options: Any = {"ftol": 1e-11, "maxiter": 500}
    box = [(-c, 1 - c) for c in centroid] if one.boxed else None
    found = minimize(
        lambda u: -slope @ u, np.zeros(len(slope)), bounds=box, constraints=constraints, options=options, method="SLSQP"
    )
    return float(slope @ centroid - found.fun)


@pytest.mark.parametrize("boxed", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_the_maximum_is_that_of_a_general_solver(seed: int, boxed: bool) -> None:
    one, generator = random_set(seed, boxed=boxed)
    g, normal = torch.randn(2, 1, len(one.centroid), dtype=torch.float64, generator=generator)
    # Halfway between what the free maximum has and what can be had.
    free, most = (float(x @ normal[0]) for x in (one.maximise(g).x, one.maximise(normal).x))
    least = (free + most) / 2
    x = maximise_capped(one, g, normal=normal, least=torch.tensor([least], dtype=torch.float64))
    assert one.contains(x, tolerance=1e-7).all()
    assert float(x @ normal[0]) >= least - 1e-7
    assert float(x @ g[0]) == pytest.approx(_by_slsqp(one, g[0], normal[0], least), abs=2e-4)


def test_a_half_space_that_does_not_cut_changes_nothing() -> None:
    one, generator = random_set(1, boxed=True)
    g, normal = torch.randn(2, 4, len(one.centroid), dtype=torch.float64, generator=generator)
    x = maximise_capped(one, g, normal=normal, least=torch.full((4,), -100.0).double())
    assert torch.equal(x, one.maximise(g).x)


def test_a_half_space_out_of_reach_leaves_the_farthest_point() -> None:
    one, generator = random_set(2)
    g, normal = torch.randn(2, 4, len(one.centroid), dtype=torch.float64, generator=generator)
    x = maximise_capped(one, g, normal=normal, least=torch.full((4,), 100.0).double())
    assert torch.allclose((x * normal).sum(1), one.maximise(normal).value)
