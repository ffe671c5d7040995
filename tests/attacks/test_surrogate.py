"""The attacker's own rows, and points that stand for a budget."""

import pytest
import torch

from gradshape.attacks._surrogate import PointBudget, hold_out
from gradshape.data import Split
from tests.training.samples import blobs


def _labels(*counts: int) -> Split:
    y = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    return Split(torch.zeros(len(y), 1), y)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("rows", "train", "validation", "sizes"),
    [(600, 100, 500, (100, 500)), (600, 100, 50, (100, 50)), (60, 100, 500, (30, 30)), (61, 10, 500, (10, 51))],
)
def test_parts_are_as_large_as_the_rows_allow(rows: int, train: int, validation: int, sizes: tuple[int, int]) -> None:
    found = hold_out(_labels(rows // 2, rows - rows // 2), train=train, validation=validation, generator=_generator())
    assert (len(found.train), len(found.validation)) == sizes


def test_parts_share_no_row_and_keep_the_shares_of_the_classes() -> None:
    data = _labels(300, 60, 240)
    found = hold_out(data, train=100, validation=200, generator=_generator())
    assert not set(found.train.tolist()) & set(found.validation.tolist())
    for rows in (found.train, found.validation):
        counts = torch.bincount(data.y[rows], minlength=3) / len(rows)
        torch.testing.assert_close(counts, torch.tensor([0.5, 0.1, 0.4]), atol=0.02, rtol=0)


def test_the_draw_is_the_generators() -> None:
    data = blobs(rows=60).train
    draws = [hold_out(data, train=20, validation=20, generator=_generator(seed)).train.tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize(("train", "validation"), [(0, 5), (5, 0), (-1, 5)])
def test_parts_without_rows_are_refused(train: int, validation: int) -> None:
    with pytest.raises(ValueError, match=r"=(0|-1): expected an integer of at least 1"):
        hold_out(_labels(5, 5), train=train, validation=validation, generator=_generator())


def test_a_single_row_cannot_be_cut() -> None:
    with pytest.raises(ValueError, match="1 training rows: expected at least 2"):
        hold_out(_labels(1), train=1, validation=1, generator=_generator())


def test_a_surrogate_of_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="training rows are all of class 0: expected two classes"):
        hold_out(_labels(40, 1), train=5, validation=5, generator=_generator())


@pytest.mark.parametrize("budget", [1, 7, 60, 4320])
@pytest.mark.parametrize("most", [1, 3, 20])
def test_points_weigh_what_the_budget_is_at_the_attackers_size(budget: int, most: int) -> None:
    shared = PointBudget.shared(budget, own_rows=100, victim_rows=10_800, most_points=most)
    assert 1 <= shared.points <= min(budget, most)
    assert shared.points * shared.weight == pytest.approx(budget * 100 / 10_800)


@pytest.mark.parametrize("budget", [5, 6, 11])
def test_points_fill_the_budget_evenly(budget: int) -> None:
    counts = torch.bincount(PointBudget(5, 1.0).fill(budget), minlength=5)
    assert counts.sum() == budget
    assert counts.max() - counts.min() <= 1
