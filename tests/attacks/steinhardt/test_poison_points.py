"""Points that drag their own filter along: inside it, and worse than points that cannot drag it."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from gradshape.attacks.steinhardt._poison_points import (
    EXTRA_DIRECTIONS,
    DraggedSets,
    PoisonPoints,
    grow_points,
    place_points,
    pull_into_box,
)
from gradshape.constraints import FeasibleSets
from gradshape.learners.hinge import fit_hinge, hinge_losses

WIDTH = 20


def gaussians(*, rows: int = 400, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two unit Gaussians, 3 apart in the first coordinate."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(rows) % 2
    x = torch.randn(rows, WIDTH, dtype=torch.float64, generator=generator)
    x[:, 0] += 3 * y
    return x, y


X, Y = gaussians()
SETS = DraggedSets.from_rows(X, Y, quantile=0.65)
DIFFERENCE = SETS.centroids[1] - SETS.centroids[0]
# Between the classes: along their difference, and along another direction as well.
ALONG = DIFFERENCE / DIFFERENCE.norm()
ASKEW = ALONG + torch.eye(WIDTH, dtype=torch.float64)[3]
START = 0.1 + torch.arange(24, dtype=torch.float64).reshape(4, 6) / 100
SPLITS = [
    (0.2, 0.0, 0.2, 0.0),
    (0.4, 0.0, 0.0, 0.0),
    (0.1, 0.1, 0.1, 0.1),
    (0.02, 0.01, 0.35, 0.02),
    (0.0, 0.2, 0.2, 0.0),
]
each_split = pytest.mark.parametrize("split", SPLITS, ids=str)
each_direction = pytest.mark.parametrize("w", [ALONG, ASKEW], ids=["along", "askew"])


def bias(w: Tensor) -> float:
    return -float(SETS.centroids.mean(0) @ w)


def place(w: Tensor, split: tuple[float, ...], *, seed: int = 0) -> PoisonPoints:
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(EXTRA_DIRECTIONS, len(w), dtype=torch.float64, generator=generator)
    start = 0.3 * torch.randn(4, 6, dtype=torch.float64, generator=generator)
    masses = torch.tensor(split, dtype=torch.float64)
    return place_points(w, bias(w), SETS, masses, directions=directions, start=start)


def test_without_poison_the_sets_are_those_of_the_clean_rows() -> None:
    none = torch.zeros(0)
    sets, clean = SETS.dragged(X[:0], Y[:0], none), FeasibleSets.from_rows(X, Y, quantile=0.65)
    for label in (0, 1):
        one, other = sets.for_class(label), clean.for_class(label)
        assert torch.allclose(one.centroid, other.centroid, atol=1e-12)
        assert torch.allclose(one.axis, other.axis, atol=1e-12)
        assert (one.radius, one.half_width) == (other.radius, other.half_width)


def test_the_sets_move_to_the_centroids_of_clean_rows_and_poison() -> None:
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(60, WIDTH, dtype=torch.float64, generator=generator), torch.arange(60) % 3 // 2
    sets = SETS.dragged(x, y, torch.full((60,), 1 / len(X)))
    both, labels = torch.cat([X, x]), torch.cat([Y, y])
    centroids = [both[labels == label].mean(0) for label in (0, 1)]
    axis = (centroids[1] - centroids[0]) / (centroids[1] - centroids[0]).norm()
    for label, sign in ((0, -1), (1, 1)):
        assert torch.allclose(sets.for_class(label).centroid, centroids[label], atol=1e-9)
        assert torch.allclose(sets.for_class(label).axis, sign * axis, atol=1e-9)


@each_split
@each_direction
def test_the_points_are_inside_the_sets_that_they_drag_along(w: Tensor, split: tuple[float, ...]) -> None:
    points = place(w, split)
    sets = SETS.dragged(points.x, points.y, points.masses)
    assert sets.contains(points.x, points.y, tolerance=1e-4 * sets.negative.radius).all()
    assert points.violation <= 1e-4


@each_split
@each_direction
def test_the_value_is_the_hinge_loss_of_the_support_points(w: Tensor, split: tuple[float, ...]) -> None:
    points = place(w, split)
    losses = (1 - (2 * points.y - 1) * (points.x @ w + bias(w))).clamp_min(0)
    assert points.value == pytest.approx(float((points.masses * losses)[[0, 2]].sum()), rel=1e-9)


@each_split
@each_direction
def test_they_are_worse_than_any_points_of_the_sets_of_the_clean_rows(w: Tensor, split: tuple[float, ...]) -> None:
    oracle = 0.0
    for label, mass in ((0, split[0]), (1, split[2])):
        sign = 2 * label - 1
        best = SETS.clean.for_class(label).maximise(-sign * w[None])
        oracle += mass * max(0.0, 1 + float(best.value) - sign * bias(w))
    assert place(w, split).value > 1.2 * oracle


@each_direction
def test_no_feasible_points_nearby_are_worse(w: Tensor) -> None:
    split = (0.1, 0.1, 0.15, 0.05)
    best, generator, tried = place(w, split), torch.Generator().manual_seed(3), 0
    for _ in range(2000):
        step = torch.randn(4, WIDTH, dtype=torch.float64, generator=generator)
        x = best.x + 10 ** float(-3 * torch.rand(1, generator=generator)) * step / math.sqrt(WIDTH)
        # Back towards the centroids, where there is room.
        x = SETS.centroids[best.y] + 0.97 * (x - SETS.centroids[best.y])
        if SETS.dragged(x, best.y, best.masses).contains(x, best.y).all():
            tried += 1
            losses = (1 - (2 * best.y - 1) * (x @ w + bias(w))).clamp_min(0)
            assert float((best.masses * losses)[[0, 2]].sum()) <= best.value * (1 + 1e-4)
    assert tried > 50


@each_split
@each_direction
def test_where_it_starts_and_which_directions_are_added_changes_no_value(w: Tensor, split: tuple[float, ...]) -> None:
    values = [place(w, split, seed=seed).value for seed in (1, 2, 3, 4)]
    assert max(values) - min(values) < 1e-3 * max(values)


def test_directions_beside_the_span_turn_the_slab_away() -> None:
    mass = 0.2
    # On the line through the centroids the axis stays as it is, so the slab ends half its width from where they are.
    y = torch.tensor([0, 1])
    offsets = torch.stack([SETS.clean.for_class(label).half_width * ALONG * (1 - 2 * label) for label in (0, 1)])
    line = SETS.centroids + (1 + mass / torch.tensor(SETS.shares)[:, None]) * offsets
    dragged = SETS.dragged(line, y, torch.full((2,), mass))
    assert dragged.contains(line, y, tolerance=1e-9).all()
    assert not dragged.contains(line + 1e-6 * offsets, y, tolerance=1e-9).any()
    confined = mass * float((1 - (2 * y - 1) * (line @ ALONG + bias(ALONG))).clamp_min(0).sum())
    assert place(ALONG, (mass, 0.0, mass, 0.0)).value > 2 * confined


def test_with_fewer_coordinates_than_directions_it_works_as_well() -> None:
    x, y = X[:, :2], Y
    sets = DraggedSets.from_rows(x, y, quantile=0.65)
    w = torch.tensor([1.0, 0.5], dtype=torch.float64)
    points = place_points(w, -1.0, sets, torch.tensor([0.1, 0.1, 0.1, 0.1]), directions=torch.eye(4, 2), start=START)
    assert sets.dragged(points.x, points.y, points.masses).contains(points.x, points.y, tolerance=1e-3).all()


@pytest.mark.parametrize("masses", [[0.1, 0.1], [0.1, -0.1, 0.1, 0.1], [0.1, math.nan, 0.1, 0.1]], ids=str)
def test_bad_masses_are_refused_by_value(masses: list[float]) -> None:
    with pytest.raises(ValueError, match=r"masses=.*expected 4 finite numbers"):
        place_points(ALONG, 0.0, SETS, torch.tensor(masses), directions=torch.eye(4, WIDTH), start=START)


def test_classes_without_spread_leave_the_points_at_their_centroids() -> None:
    rows = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    sets = DraggedSets.from_rows(rows, torch.tensor([0, 1]), quantile=0.65)
    w = torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64)
    points = place_points(w, 0.0, sets, torch.tensor([0.2, 0.2, 0.2, 0.2]), directions=torch.eye(4, 3), start=START)
    assert torch.allclose(points.x, sets.centroids[points.y], atol=1e-9)


@each_split
def test_in_the_box_points_are_inside_it_and_their_sets_and_still_cost(split: tuple[float, ...]) -> None:
    x = (0.15 + 0.15 * X).clamp(0, 1)
    sets = DraggedSets.from_rows(x, Y, quantile=0.65)
    w = 10 * (sets.centroids[1] - sets.centroids[0])
    b = -float(sets.centroids.mean(0) @ w)
    masses = torch.tensor(split, dtype=torch.float64)
    free = place_points(w, b, sets, masses, directions=torch.eye(4, WIDTH), start=START)
    boxed = pull_into_box(free, w, b, sets)
    used = masses > 0
    dragged = sets.dragged(boxed.x, boxed.y, masses).within_box()
    assert not dragged.contains(free.x, free.y)[used].all()
    assert dragged.contains(boxed.x, boxed.y, tolerance=1e-4 * dragged.negative.radius)[used].all()
    assert boxed.violation <= 1e-4
    losses = (1 - (2 * boxed.y - 1) * (boxed.x @ w + b)).clamp_min(0)
    assert boxed.value == pytest.approx(float((masses * losses)[[0, 2]].sum()), rel=1e-9)
    at_centroids = (1 - (2 * boxed.y - 1) * (sets.centroids[boxed.y] @ w + b)).clamp_min(0)
    assert boxed.value > 1.2 * float((masses * at_centroids)[[0, 2]].sum())


def test_points_that_are_in_the_box_already_stay() -> None:
    x = 0.4 + 0.02 * X
    sets = DraggedSets.from_rows(x, Y, quantile=0.65)
    w, masses = ASKEW, torch.tensor([0.1, 0.1, 0.1, 0.1], dtype=torch.float64)
    free = place_points(w, 0.0, sets, masses, directions=torch.eye(4, WIDTH), start=START)
    assert free.x.min() > 0
    assert torch.equal(pull_into_box(free, w, 0.0, sets).x, free.x)


def _clean_loss(points: PoisonPoints) -> float:
    weights = torch.cat([torch.full((len(X),), 1 / len(X), dtype=torch.float64), points.masses])
    fit = fit_hinge(torch.cat([X, points.x]), torch.cat([Y, points.y]), rho=2.0, weights=weights)
    return float(hinge_losses(X, Y, fit.w, fit.b).mean())


@each_direction
@each_split
def test_grown_poison_has_the_rows_asked_for_and_is_inside_its_sets(w: Tensor, split: tuple[float, ...]) -> None:
    points = place(w, split)
    for count in (round(400 * sum(split)) + 1, 200, 400, 1600):
        grown = grow_points(points, count, SETS, rows=400)
        copies = grown.masses * 400
        assert copies.sum().round() == count
        assert torch.allclose(copies, copies.round(), atol=1e-9)
        used = grown.masses > 0
        dragged = SETS.dragged(grown.x, grown.y, grown.masses)
        tolerance = 2e-4 * max(dragged.negative.radius, dragged.positive.radius)
        assert dragged.contains(grown.x[used], grown.y[used], tolerance=tolerance).all()


@each_direction
@each_split
def test_more_copies_of_the_same_rows_never_lower_the_clean_loss(w: Tensor, split: tuple[float, ...]) -> None:
    points = place(w, split)
    grown = [grow_points(points, 160 * factor, SETS, rows=400) for factor in (2, 3)]
    losses = [_clean_loss(one) for one in (points, *grown) if len(one.x) == 4]
    assert all(after >= before - 1e-3 for before, after in itertools.pairwise(losses)), losses


def test_where_more_copies_would_leave_their_sets_centroids_are_added_that_move_none() -> None:
    # The mean of a lone point and of one across the middle is outside the set of neither, but follows the larger mass.
    x = SETS.centroids[[0, 0, 1, 1]].clone()
    x[0] += 0.99 * SETS.clean.negative.radius * torch.eye(WIDTH, dtype=torch.float64)[5]
    x[1] -= 0.99 * SETS.clean.negative.radius * torch.eye(WIDTH, dtype=torch.float64)[5]
    masses = torch.tensor([0.02, 0.0025, 0.0, 0.0], dtype=torch.float64)
    points = PoisonPoints(x, torch.tensor([0, 0, 1, 1]), masses, 0.1, 0.0)
    grown = grow_points(points, 400, SETS, rows=400)
    assert len(grown.x) == 6
    assert grown.masses.sum() == pytest.approx(1)
    before, after = (
        SETS.dragged(grown.x[:4], grown.y[:4], grown.masses[:4]),
        SETS.dragged(grown.x, grown.y, grown.masses),
    )
    for label in (0, 1):
        assert torch.allclose(before.for_class(label).centroid, after.for_class(label).centroid)
        assert torch.allclose(before.for_class(label).axis, after.for_class(label).axis)
