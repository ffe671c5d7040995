"""Sphere-and-slab sets, and maxima and projections over them, without the box."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gradshape.constraints import FeasibleSets, SphereSlab
from tests.constraints.sets import points_of, random_set


def _best_in_the_plane(one: SphereSlab, g: Tensor) -> float:
    """The maximum by brute force: it lies in the plane of the axis and the direction."""
    component = float(g @ one.axis)
    across = float((g - component * one.axis).norm())
    most = min(one.radius, one.half_width)
    along = torch.linspace(-most, most, 20_001, dtype=torch.float64)
    height = (one.radius**2 - along**2).clamp_min(0).sqrt()
    return float(g @ one.centroid) + float((component * along + across * height).max())


@pytest.mark.parametrize("seed", range(200))
def test_the_maximum_is_that_of_a_fine_grid_and_is_attained_in_the_set(seed: int) -> None:
    one, generator = random_set(seed)
    g = torch.randn(1, len(one.centroid), dtype=torch.float64, generator=generator)
    found = one.maximise(g)
    assert found.value.item() == pytest.approx(_best_in_the_plane(one, g[0]), abs=1e-6)
    assert found.value.item() == pytest.approx(float(found.x @ g[0]), abs=1e-9)
    assert torch.equal(found.value, found.bound)
    assert one.contains(found.x).all()


@pytest.mark.parametrize("seed", range(200))
def test_a_projection_is_in_the_set_and_no_point_of_the_set_is_on_its_far_side(seed: int) -> None:
    one, generator = random_set(seed)
    away = one.centroid + 3 * one.radius * torch.randn(4, len(one.centroid), dtype=torch.float64, generator=generator)
    near = one.project(away)
    assert one.contains(near).all()
    points = points_of(one, 200, generator)
    # The obtuse angle that characterises the projection onto a convex set.
    assert float(((away - near) @ points.T - ((away - near) * near).sum(1, keepdim=True)).max()) <= 1e-9


@pytest.mark.parametrize("boxed", [False, True])
def test_points_of_the_set_are_their_own_projections(boxed: bool) -> None:
    one, generator = random_set(3, boxed=boxed)
    points = points_of(one, 50, generator)
    assert torch.allclose(one.project(points), points, rtol=0, atol=1e-7)


@pytest.mark.parametrize("boxed", [False, True])
@pytest.mark.parametrize(
    "direction", [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [-2.0, 0.0, 0.0], [0.0, 1.0, 0.0]], ids=lambda d: str(d)
)
def test_directions_with_nothing_across_the_axis_or_along_it(direction: list[float], boxed: bool) -> None:
    axis = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    one = SphereSlab(torch.full((3,), 0.5, dtype=torch.float64), 0.4, axis, half_width=0.1, boxed=boxed)
    found = one.maximise(torch.tensor([direction]))
    expected = sum(direction) / 2 + 0.1 * abs(direction[0]) + 0.4 * abs(direction[1])
    assert found.value.item() == pytest.approx(expected)
    assert one.contains(found.x).all()


@pytest.mark.parametrize("boxed", [False, True])
@pytest.mark.parametrize(("radius", "half_width"), [(0.0, 0.1), (0.1, 0.0), (0.0, 0.0)])
def test_sets_without_an_inside(radius: float, half_width: float, boxed: bool) -> None:
    axis = torch.tensor([1.0, 0.0], dtype=torch.float64)
    one = SphereSlab(torch.tensor([0.5, 0.5], dtype=torch.float64), radius, axis, half_width=half_width, boxed=boxed)
    found = one.maximise(torch.tensor([[1.0, 1.0]]))
    assert found.value.item() == pytest.approx(1 + (radius if half_width == 0 else 0), abs=1e-6)
    assert one.contains(found.x).all()
    assert one.contains(one.project(torch.tensor([[3.0, 2.0]]))).all()


def test_without_an_axis_there_is_no_slab() -> None:
    one = SphereSlab(torch.zeros(2, dtype=torch.float64), 2.0, torch.zeros(2, dtype=torch.float64), half_width=0.0)
    assert one.maximise(torch.tensor([[3.0, 4.0]])).value.item() == pytest.approx(10)
    assert one.contains(torch.tensor([[2.0, 0.0], [2.1, 0.0]])).tolist() == [True, False]


@pytest.mark.parametrize("quantile", [0.0, 0.3, 0.7, 1.0])
def test_radii_and_half_widths_are_class_wise_quantiles(quantile: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(31, 4, generator=generator), torch.arange(31) % 3 // 2
    sets = FeasibleSets.from_rows(x, y, quantile=quantile)
    rows = x.double().numpy()
    centres = [rows[y.numpy() == label].mean(0) for label in (0, 1)]
    for label in (0, 1):
        offset = rows[y.numpy() == label] - centres[label]
        axis = centres[label] - centres[1 - label]
        widths = np.abs(offset @ axis) / np.linalg.norm(axis)
        assert sets.for_class(label).radius == pytest.approx(
            np.percentile(np.linalg.norm(offset, axis=1), 100 * quantile)
        )
        assert sets.for_class(label).half_width == pytest.approx(np.percentile(widths, 100 * quantile))


def test_a_wider_quantile_contains_a_narrower_one() -> None:
    generator = torch.Generator().manual_seed(1)
    x, y = torch.rand(40, 3, generator=generator), torch.arange(40) % 2
    narrow, wide = (FeasibleSets.from_rows(x, y, quantile=quantile) for quantile in (0.4, 0.8))
    drawn, labels = torch.rand(500, 3, generator=generator), torch.randint(2, (500,), generator=generator)
    inside = narrow.contains(drawn, labels)
    assert inside.any()
    assert wide.contains(drawn[inside], labels[inside]).all()


def test_rows_are_projected_onto_the_set_of_their_class_and_no_farther() -> None:
    generator = torch.Generator().manual_seed(2)
    x, y = torch.rand(40, 3, generator=generator), torch.arange(40) % 2
    sets = FeasibleSets.from_rows(x, y, quantile=0.5, boxed=True)
    near = sets.project(x, y)
    assert sets.contains(near, y).all()
    inside = sets.contains(x, y, tolerance=0)
    assert inside.any()
    assert torch.allclose(near[inside], x[inside].double(), rtol=0, atol=1e-7)


def test_shrunk_rows_survive_rounding_to_float32() -> None:
    generator = torch.Generator().manual_seed(3)
    x, y = torch.rand(40, 300, generator=generator), torch.arange(40) % 2
    sets = FeasibleSets.from_rows(x, y, quantile=0.5, boxed=True)
    edge = sets.project(torch.rand(40, 300, generator=generator) * 3 - 1, y)
    assert not sets.contains(edge.float(), y, tolerance=0).all()
    assert sets.contains(sets.shrink(edge, y, share=1e-5).float(), y, tolerance=0).all()


def test_a_class_without_rows_is_named() -> None:
    with pytest.raises(ValueError, match="class 1 has no rows"):
        FeasibleSets.from_rows(torch.rand(3, 2), torch.zeros(3, dtype=torch.int64), quantile=0.7)


def test_other_labels_are_named() -> None:
    with pytest.raises(ValueError, match=r"labels \[0, 2\]"):
        FeasibleSets.from_rows(torch.rand(2, 2), torch.tensor([0, 2]), quantile=0.7)


@pytest.mark.parametrize("quantile", [-0.1, 1.1, math.nan])
def test_a_quantile_out_of_range_is_named(quantile: float) -> None:
    with pytest.raises(ValueError, match=f"quantile={quantile}"):
        FeasibleSets.from_rows(torch.rand(2, 2), torch.tensor([0, 1]), quantile=quantile)


@pytest.mark.parametrize("name", ["radius", "half_width"])
def test_a_negative_extent_is_named(name: str) -> None:
    one, _ = random_set(0)
    extents = {"radius": one.radius, "half_width": one.half_width, name: -1.0}
    with pytest.raises(ValueError, match=rf"{name}=-1\.0"):
        SphereSlab(one.centroid, extents["radius"], one.axis, half_width=extents["half_width"])


def test_a_box_needs_its_centroid_inside() -> None:
    with pytest.raises(ValueError, match=r"centroid outside \[0, 1\]"):
        SphereSlab(torch.tensor([1.5]).double(), 1.0, torch.ones(1).double(), half_width=1.0, boxed=True)
