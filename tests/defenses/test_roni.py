import time

import pytest
import torch

from gradshape.attacks import LabelFlip
from gradshape.data import Split, load
from gradshape.defenses import RONI, Calibrated
from gradshape.defenses.inclusion import TrialLearners, TrustedRows
from gradshape.defenses.roni import quiz_impact
from gradshape_bench.jobs import Filter
from tests.defenses.rows import gaussians, joined, labelled, mask_of

CLEAN = gaussians(400, seed=0, apart=1.0)


def far_side(count: int) -> Split:
    """Rows beyond class 1 that claim to be of class 0."""
    noise = torch.randn(count, 2, generator=torch.Generator().manual_seed(5))
    return labelled(torch.tensor([6.0, 0.0]) + noise / 10, 0)


def impacts(rows: Split, *, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    trusted = TrustedRows.draw(CLEAN.y, base=20, quiz=50, trials=5, calibration=0, generator=generator)
    learners = TrialLearners.on(CLEAN, trusted.base, num_classes=2, decay=0.1)
    return quiz_impact(learners, rows, Split(CLEAN.x[trusted.quiz], CLEAN.y[trusted.quiz]))


@pytest.mark.parametrize("seed", range(3))
def test_impacts_tell_mislabelled_rows_on_the_far_side(seed: int) -> None:
    good, bad = impacts(gaussians(40, seed=100, apart=1.0), seed=seed), impacts(far_side(40), seed=seed)
    assert (bad[:, None] < good).double().mean() + (bad[:, None] == good).double().mean() / 2 > 0.95
    assert bad.mean() < -0.02
    assert abs(good.mean()) < 0.01


def test_rows_of_the_base_sets_once_more_do_next_to_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    trusted = TrustedRows.draw(CLEAN.y, base=20, quiz=50, trials=5, calibration=0, generator=generator)
    rows = trusted.base.flatten()
    assert impacts(Split(CLEAN.x[rows], CLEAN.y[rows])).abs().mean() < 0.01


def test_an_impact_is_a_share_of_the_answers() -> None:
    found = 250 * impacts(joined(gaussians(40, seed=100, apart=1.0), far_side(5)))
    torch.testing.assert_close(found, found.round(), atol=1e-9, rtol=0)
    assert found.unique().numel() > 3


def test_equal_rows_have_equal_impacts() -> None:
    rows = gaussians(30, seed=1, apart=1.0)
    once = impacts(rows)
    assert torch.equal(impacts(joined(rows, rows)), torch.cat([once, once]))


@pytest.mark.parametrize("threshold", [-0.02, Calibrated()], ids=str)
def test_mislabelled_rows_are_left_out_and_others_stay(threshold: float | Calibrated) -> None:
    rows = joined(gaussians(200, seed=1, apart=1.0), far_side(40))
    mask = mask_of(RONI(threshold=threshold), rows, clean=CLEAN)
    assert mask[:200].double().mean() > 0.9
    assert mask[200:].double().mean() < 0.1


def test_filtering_again_by_the_same_trials_removes_nothing() -> None:
    rows = joined(gaussians(200, seed=1, apart=1.0), far_side(40))
    mask = mask_of(RONI(), rows, clean=CLEAN)
    assert not mask.all()
    assert bool(mask_of(RONI(), Split(rows.x[mask], rows.y[mask]), clean=CLEAN).all())


def test_other_seeds_make_other_trials() -> None:
    rows = gaussians(60, seed=1, apart=1.0)
    assert not torch.equal(impacts(rows, seed=0), impacts(rows, seed=1))


def test_flipped_digits_are_found() -> None:
    digits = load("digits_38")
    poison = LabelFlip(0.4)(digits, seed=0)
    keep = Filter(digits, "cpu", RONI(), recipe=None, poison=poison, seed=0).do(lambda _: None).result
    clean = len(digits.train)
    assert (~keep[clean:]).double().mean() > 0.7
    assert (~keep[:clean]).double().mean() < 0.05


def test_a_thousand_rows_take_less_than_a_minute() -> None:
    rows = gaussians(1000, seed=1, features=64)
    clean = gaussians(300, seed=0, features=64)
    began = time.process_time()
    mask_of(RONI(), rows, clean=clean)
    assert time.process_time() - began < 60


def test_the_defender_has_to_have_clean_rows() -> None:
    with pytest.raises(ValueError, match="no clean was given"):
        RONI().filter(CLEAN, generator=torch.Generator())
