"""Interpolations between the rows of two classes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradshape.attacks import Watermark, overlay
from gradshape.data import Dataset, Split
from tests.attacks.attacks import DATASETS

PICTURES, TWO = DATASETS["pictures"], DATASETS["two-classes"]


def is_row_of(x: torch.Tensor, split: Split, label: int) -> bool:
    """Whether every row of ``x`` is one of the class' rows."""
    rows = {row.numpy().tobytes() for row in split.x[split.y == label]}
    return all(row.numpy().tobytes() in rows for row in x)


@pytest.mark.parametrize("dataset", [PICTURES, TWO], ids=["pictures", "two-classes"])
def test_alpha_1_flips_labels_of_the_other_class(dataset: Dataset) -> None:
    poison = Watermark(1, fraction=0.2)(dataset, seed=0)
    assert is_row_of(poison.x, dataset.train, 1)
    assert (poison.y == 0).all()


def test_alpha_0_repeats_clean_rows() -> None:
    poison = Watermark(0, fraction=0.2)(PICTURES, seed=0)
    assert torch.equal(poison.x, PICTURES.train.x[poison.source])
    assert torch.equal(poison.y, PICTURES.train.y[poison.source])
    assert is_row_of(poison.x, PICTURES.train, 0)


@pytest.mark.parametrize("alpha", [0.1, 0.4, 0.6])
def test_rows_are_paired_in_the_order_in_which_they_were_drawn(alpha: float) -> None:
    # Undoing the overlay shows the row that was laid over the base.
    poison = Watermark(alpha, count=20, classes=(2, 3))(PICTURES, seed=4)
    base = PICTURES.train.x[poison.source]
    other = (poison.x - (1 - alpha) * base) / alpha
    rows = PICTURES.train.x[PICTURES.train.y == 3].flatten(1)
    distance, pair = torch.cdist(other.flatten(1), rows).min(1)
    assert distance.max() < 1e-4
    assert len(pair.unique()) == len(poison.source.unique()) == 20
    assert (poison.y == 2).all()


def test_more_pairs_than_rows_repeat() -> None:
    poison = Watermark(0.5, count=80)(PICTURES, seed=0)
    assert len(poison) == 80 > int((PICTURES.train.y == 0).sum())


@pytest.mark.parametrize(
    ("attack", "rows", "budget"),
    [
        (Watermark(0.4, count=100), 10_800, 100),
        (Watermark(0.4, count=0), 10, 0),
        (Watermark(0.4, fraction=0.01), 10_800, 108),
        (Watermark(0.4, fraction=0), 10_800, 0),
    ],
)
def test_the_budget_is_exact(attack: Watermark, rows: int, budget: int) -> None:
    assert attack.budget(rows) == budget


@given(st.floats(0, 1))
def test_an_overlay_stays_in_the_box(alpha: float) -> None:
    corners = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    x = overlay(corners, torch.tensor([[0.0, 1.0, 0.0, 1.0]]), alpha=alpha)
    assert x.dtype == torch.float32
    assert ((x >= 0) & (x <= 1)).all()
    assert x[0, 3] == pytest.approx(1, abs=1e-6)
    assert x[0, 1] == pytest.approx(alpha, abs=1e-6)


def test_an_overlay_of_other_shapes_or_shares_is_refused() -> None:
    with pytest.raises(ValueError, match=r"base has shape \(1, 2\) and other \(2, 2\)"):
        overlay(torch.zeros(1, 2), torch.zeros(2, 2), alpha=0.5)
    with pytest.raises(ValueError, match=r"alpha=1\.5"):
        overlay(torch.zeros(1, 2), torch.zeros(1, 2), alpha=1.5)


@pytest.mark.parametrize(
    ("attack", "label", "family"),
    [
        (Watermark(0.4, fraction=0.01), "watermark_a0.4_1", "watermark_a0.4"),
        (Watermark(1, count=100), "watermark_a1_100rows", "watermark_a1"),
        (Watermark(0.1, count=100, classes=(3, 4)), "watermark_4on3_a0.1_100rows", "watermark_4on3_a0.1"),
    ],
)
def test_labels_name_intensity_last(attack: Watermark, label: str, family: str) -> None:
    assert (attack.label, attack.family) == (label, family)


def test_a_class_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="no training row is of class 7"):
        Watermark(0.4, count=5, classes=(0, 7))(PICTURES, seed=0)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"alpha": 1.1, "count": 1}, "alpha=1.1"),
        ({"alpha": 0.5}, "fraction=None and count=None: expected one"),
        ({"alpha": 0.5, "fraction": 0.1, "count": 3}, "fraction=0.1 and count=3: expected one"),
        ({"alpha": 0.5, "fraction": -0.1}, "fraction=-0.1"),
        ({"alpha": 0.5, "count": -1}, "count=-1: expected an integer"),
        ({"alpha": 0.5, "count": 2.5}, "count=2.5: expected an integer"),
        ({"alpha": 0.5, "count": 1, "classes": (1, 1)}, r"classes=\(1, 1\): expected two different"),
        ({"alpha": 0.5, "count": 1, "classes": (-1, 1)}, r"classes=\(-1, 1\): expected two different"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Watermark(**values)  # type: ignore[arg-type]
