"""What holds of every defence that leaves out a share of each class."""

import math
from typing import Any

import pytest
import torch

from gradshape.data import Dataset, Split
from gradshape.defenses import Defense, LossFilter, NearestNeighborFilter, SlabFilter, SphereFilter, SVDFilter
from gradshape.defenses.removal import keep_lowest
from gradshape.training import SGD, Recipe
from tests.defenses.rows import gaussians, joined, labelled, mask_of

KINDS: list[Any] = [SphereFilter, SlabFilter, LossFilter, SVDFilter, NearestNeighborFilter]
RECIPE = Recipe("lr", SGD(0.1), batch_size=7, epochs=1)
each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.parametrize("removed", [0.0, 0.05, 0.1, 0.3, 0.5, 0.999, 1.0])
def test_exactly_the_rounded_share_of_each_class_is_kept(removed: float) -> None:
    y = torch.tensor([0] * 1 + [1] * 10 + [2] * 33 + [4] * 70)[torch.randperm(114)]
    keep = keep_lowest(torch.rand(114), y, removed=removed)
    for label, count in ((0, 1), (1, 10), (2, 33), (4, 70)):
        assert int(keep[y == label].sum()) == round((1 - removed) * count)


def test_the_highest_scores_of_a_class_go() -> None:
    scores = torch.tensor([5.0, 1.0, 4.0, 100.0, 102.0, 101.0])
    keep = keep_lowest(scores, torch.tensor([0, 0, 0, 1, 1, 1]), removed=1 / 3)
    assert keep.tolist() == [False, True, True, True, False, True]


def test_among_equal_scores_the_first_rows_stay() -> None:
    keep = keep_lowest(torch.zeros(40), torch.arange(40) % 2, removed=0.25)
    assert keep.tolist() == [row < 30 for row in range(40)]


def test_infinite_scores_are_the_highest() -> None:
    keep = keep_lowest(torch.tensor([math.inf, 1.0, -math.inf]), torch.zeros(3, dtype=torch.int64), removed=1 / 3)
    assert keep.tolist() == [False, True, True]


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="scores: 1 of 2 are NaN"):
        keep_lowest(torch.tensor([math.nan, 1.0]), torch.zeros(2, dtype=torch.int64), removed=0.5)


@each_kind
@pytest.mark.parametrize("removed", [0.0, 1.0, -0.1, math.nan])
def test_a_share_that_leaves_all_or_nothing_is_refused(kind: Any, removed: float) -> None:
    with pytest.raises(ValueError, match=r"removed=.*: expected a number in \(0, 1\)"):
        kind(removed)


@each_kind
def test_five_percent_of_each_class_go_by_default(kind: Any) -> None:
    rows = joined(gaussians(80, seed=0), labelled(torch.rand(31, 2), 1))
    mask = mask_of(kind(), rows)
    for label, count in ((0, 40), (1, 71)):
        assert int(mask[rows.y == label].sum()) == round(0.95 * count)


@each_kind
def test_a_class_of_one_row_stays(kind: Any) -> None:
    rows = joined(gaussians(60, seed=0), labelled(torch.full((1, 2), 50.0), 2))
    assert mask_of(kind(), rows)[-1]


@each_kind
def test_a_class_that_would_go_is_an_error(kind: Any) -> None:
    rows = joined(gaussians(60, seed=0), labelled(torch.full((1, 2), 50.0), 2))
    with pytest.raises(ValueError, match="removes all rows of class 2"):
        mask_of(kind(0.6), rows)


@each_kind
def test_rows_that_are_all_the_same_are_told_apart_by_place_only(kind: Any) -> None:
    rows = Split(torch.full((40, 3), 0.5), torch.arange(40) % 2)
    assert mask_of(kind(0.1), rows).tolist() == [row < 36 for row in range(40)]


@each_kind
def test_constant_features_change_nothing(kind: Any) -> None:
    rows = gaussians(60, seed=0)
    wider = Split(torch.cat([rows.x, torch.zeros(60, 2)], dim=1), rows.y)
    assert torch.equal(mask_of(kind(0.1), wider), mask_of(kind(0.1), rows))


@each_kind
def test_one_class_alone_is_filtered(kind: Any) -> None:
    rows = labelled(torch.rand(40, 3, generator=torch.Generator().manual_seed(0)), 0)
    assert int(mask_of(kind(0.1), rows).sum()) == 36


@each_kind
def test_pictures_are_rows(kind: Any) -> None:
    rows = gaussians(60, seed=0, features=6)
    pictures = Split(rows.x.view(60, 1, 2, 3), rows.y)
    assert torch.equal(mask_of(kind(0.1), pictures), mask_of(kind(0.1), rows))


@each_kind
def test_the_label_says_the_share(kind: Any) -> None:
    name = dict(zip(KINDS, ["sphere", "slab", "loss", "svd", "knn"], strict=True))[kind]
    assert kind().label_for(RECIPE) == f"{name}_5"
    assert kind(0.07).label_for(RECIPE) == f"{name}_7"


@pytest.mark.parametrize(
    ("defense", "label"),
    [
        (LossFilter(0.05, decay=0.1), "loss_5_d0.1"),
        (SVDFilter(0.1, spectrum=0.9), "svd_10_s0.9"),
        (NearestNeighborFilter(neighbors=3), "knn_5_k3"),
    ],
    ids=str,
)
def test_the_label_says_what_is_no_default(defense: Defense, label: str) -> None:
    assert defense.label_for(RECIPE) == label


@each_kind
def test_regression_is_unsuitable(kind: Any) -> None:
    rows = Split(torch.rand(5, 2), torch.rand(5))
    assert "regression" in kind().unsuitable(Dataset("numbers", rows, rows, num_classes=0), RECIPE)
    classes = Split(torch.rand(5, 2), torch.arange(5) % 2)
    assert kind().unsuitable(Dataset("classes", classes, classes, num_classes=2), RECIPE) is None
