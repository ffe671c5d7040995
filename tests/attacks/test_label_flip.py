"""Random label flipping."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gradshape.attacks import LabelFlip, feasible_flips
from gradshape.constraints import SphereSlab
from gradshape.data import Dataset, Split
from tests.attacks.attacks import DATASETS, LABEL_FLIPS
from tests.training.samples import blobs

each_flip = pytest.mark.parametrize("attack", LABEL_FLIPS, ids=lambda attack: attack.label)
each_dataset = pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)


@each_flip
@each_dataset
def test_no_row_keeps_its_own_label(attack: LabelFlip, dataset: Dataset) -> None:
    poison = attack(dataset, seed=2)
    assert (poison.y != dataset.train.y[poison.source]).all()


@each_flip
@each_dataset
def test_rows_are_copies_of_their_sources_and_replace_none(attack: LabelFlip, dataset: Dataset) -> None:
    poison = attack(dataset, seed=2)
    assert torch.equal(poison.x, dataset.train.x[poison.source])
    assert len(poison.replaced) == 0


@pytest.mark.parametrize(("fraction", "rows", "budget"), [(0, 100, 0), (0.4, 10_800, 4_320), (0.01, 99, 1), (1, 7, 7)])
def test_the_budget_is_relative_to_the_clean_rows(fraction: float, rows: int, budget: int) -> None:
    assert LabelFlip(fraction).budget(rows) == budget


@pytest.mark.parametrize("fraction", [0.4, 1])
def test_rows_are_drawn_without_replacement_as_long_as_there_are_enough(fraction: float) -> None:
    poison = LabelFlip(fraction)(DATASETS["pictures"], seed=3)
    assert len(poison.source.unique()) == len(poison)


@pytest.mark.parametrize("quantile", [None, 0.9])
def test_with_two_classes_the_label_is_the_opposite(quantile: float | None) -> None:
    dataset = DATASETS["two-classes"]
    poison = LabelFlip(0.5, quantile)(dataset, seed=3)
    assert torch.equal(poison.y, 1 - dataset.train.y[poison.source])


def test_labels_are_uniform_over_the_other_classes() -> None:
    dataset = blobs(rows=4000, classes=5)
    poison = LabelFlip(1)(dataset, seed=0)
    shift = (poison.y - dataset.train.y[poison.source]) % 5
    assert stats.chisquare(torch.bincount(shift, minlength=5)[1:].numpy()).pvalue > 1e-3


def test_every_row_is_as_likely() -> None:
    dataset = blobs(rows=20)
    drawn = torch.cat([LabelFlip(0.25)(dataset, seed=seed).source for seed in range(800)])
    # Without replacement the counts vary less than the test assumes: it can only err towards passing.
    assert stats.chisquare(torch.bincount(drawn, minlength=20).numpy()).pvalue > 1e-3


@pytest.mark.parametrize("fraction", [-0.1, float("nan"), float("inf"), 1.5])
def test_a_fraction_that_is_none_is_named(fraction: float) -> None:
    with pytest.raises(ValueError, match=f"fraction={fraction!r}"):
        LabelFlip(fraction)


@pytest.mark.parametrize("quantile", [0, -0.5, 1.1, float("nan")])
def test_a_quantile_outside_its_range_is_named(quantile: float) -> None:
    with pytest.raises(ValueError, match=f"feasible_quantile={quantile!r}"):
        LabelFlip(0.1, feasible_quantile=quantile)


@pytest.mark.parametrize(
    ("attack", "label", "family"),
    [
        (LabelFlip(0.4), "label_flip_40", "label_flip"),
        (LabelFlip(0.07), "label_flip_7", "label_flip"),
        (LabelFlip(0.005), "label_flip_0.5", "label_flip"),
        (LabelFlip(0.1, 0.9), "label_flip_koh90_10", "label_flip_koh90"),
    ],
    ids=lambda value: str(value),
)
def test_the_label_says_the_percentage(attack: LabelFlip, label: str, family: str) -> None:
    assert (attack.label, attack.family) == (label, family)


def _one_class() -> Dataset:
    split = Split(torch.rand(4, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(4, dtype=torch.int64))
    return Dataset("one", split, split, num_classes=1)


@pytest.mark.parametrize("quantile", [None, 0.9])
def test_data_of_one_class_cannot_be_flipped(quantile: float | None) -> None:
    with pytest.raises(ValueError, match=r"all training rows are of one class"):
        LabelFlip(0.5, quantile)(_one_class(), seed=0)


@pytest.mark.parametrize("classes", [2, 3])
def test_where_no_flip_is_feasible_flips_are_moved_into_the_sets_that_they_claim(classes: int) -> None:
    apart = blobs(rows=60, classes=classes, spread=1e-3)
    assert not feasible_flips(apart.train, classes, 0.9).any()
    poison = LabelFlip(0.5, feasible_quantile=0.9)(apart, seed=0)
    assert len(poison) == 30
    assert (poison.y != apart.train.y[poison.source]).all()
    x, y = apart.train.x.flatten(1).double(), apart.train.y
    moved = poison.x.flatten(1).double() - x[poison.source]
    assert poison.notes["moved"] == pytest.approx(float(moved.norm(dim=1).mean()))
    for row, label, source in zip(poison.x.flatten(1), poison.y, poison.source, strict=True):
        sets = SphereSlab.around(x[y == label], opposite=x[y == y[source]].mean(0), quantile=0.9, boxed=True)
        assert sets.contains(row[None]).all()


def _feasible_by_hand(x: np.ndarray, y: np.ndarray, classes: int, quantile: float) -> list[list[bool]]:
    def centre(label: int) -> np.ndarray:
        return np.asarray(np.mean([row for row, own in zip(x, y, strict=True) if own == label], axis=0))

    table = [[False] * classes for _ in x]
    for i, (row, own) in enumerate(zip(x, y, strict=True)):
        for claimed in range(classes):
            members = [other for other, label in zip(x, y, strict=True) if label == claimed]
            if claimed == own or not members:
                continue
            axis = centre(claimed) - centre(own)
            axis = axis / np.linalg.norm(axis)
            radius = np.quantile([np.linalg.norm(other - centre(claimed)) for other in members], quantile)
            width = np.quantile([abs(axis @ (other - centre(claimed))) for other in members], quantile)
            offset = row - centre(claimed)
            table[i][claimed] = bool(np.linalg.norm(offset) <= radius and abs(axis @ offset) <= width)
    return table


@given(
    rows=st.integers(2, 14),
    width=st.integers(1, 4),
    classes=st.integers(2, 4),
    quantile=st.floats(0.05, 1),
    seed=st.integers(0, 10_000),
)
def test_feasible_flips_equal_a_loop_written_by_hand(
    rows: int, width: int, classes: int, quantile: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(rows, width, generator=generator)
    y = torch.randint(classes, (rows,), generator=generator)
    got = feasible_flips(Split(x, y), classes, quantile)
    assert got.tolist() == _feasible_by_hand(x.double().numpy(), y.numpy(), classes, quantile)


@pytest.mark.parametrize("quantile", [0.6, 0.9, 1])
@each_dataset
def test_all_flips_of_the_koh_variant_are_feasible(dataset: Dataset, quantile: float) -> None:
    train = dataset.train
    poison = LabelFlip(1, feasible_quantile=quantile)(dataset, seed=0)
    allowed = _feasible_by_hand(train.x.flatten(1).double().numpy(), train.y.numpy(), dataset.num_classes, quantile)
    flips = list(zip(poison.source.tolist(), poison.y.tolist(), strict=True))
    assert all(allowed[row][label] for row, label in flips)


def test_the_koh_variant_draws_uniformly_among_the_feasible_flips() -> None:
    dataset = DATASETS["pictures"]
    allowed = feasible_flips(dataset.train, 4, 0.9)
    counts = torch.zeros(99, 4)
    for seed in range(40):
        poison = LabelFlip(1, feasible_quantile=0.9)(dataset, seed=seed)
        counts.index_put_((poison.source, poison.y), torch.ones(len(poison)), accumulate=True)
    assert stats.chisquare(counts[allowed].numpy()).pvalue > 1e-3
