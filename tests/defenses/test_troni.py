import pytest
import torch

from gradshape.data import Split
from gradshape.defenses import RONI, Calibrated, TargetedRONI
from gradshape.defenses.inclusion import TrialLearners, TrustedRows
from gradshape.defenses.roni import quiz_impact
from gradshape.defenses.troni import target_impact
from tests.defenses.rows import gaussians, joined, labelled, mask_of


def aligned(seed: int) -> tuple[Split, Split, Split]:
    """Clean rows in 20 dimensions, a target of class 1, and one row of class 0 that has to do with the target only: it
    lies in the target's direction off the line between the classes.
    """
    clean = gaussians(400, seed=seed, features=20)
    target = labelled(gaussians(2, seed=50 + seed, features=20).x[1:], 1)
    x = target.x / 2
    x[:, 0] = 0
    return clean, target, labelled(x, 0)


@pytest.mark.parametrize("seed", range(5))
def test_a_row_that_is_aligned_with_the_target_is_seen_and_roni_is_silent(seed: int) -> None:
    clean, target, bad = aligned(seed)
    rows = joined(gaussians(100, seed=90, features=20), bad)
    assert bool(mask_of(RONI(threshold=-0.1), rows, clean=clean).all())
    mask = mask_of(TargetedRONI(), rows, clean=clean, targets=target)
    assert not mask[-1]
    assert mask[:-1].double().mean() > 0.9


def test_such_a_row_moves_the_target_and_hardly_the_accuracy() -> None:
    moved, lost = [], []
    for seed in range(8):
        clean, target, bad = aligned(seed)
        trusted = TrustedRows.draw(
            clean.y, base=20, quiz=50, trials=5, calibration=0, generator=torch.Generator().manual_seed(0)
        )
        learners = TrialLearners.on(clean, trusted.base, num_classes=2, decay=0.1)
        moved.append(target_impact(learners, bad, target)[0].item())
        lost.append(quiz_impact(learners, bad, Split(clean.x[trusted.quiz], clean.y[trusted.quiz])).item())
    assert sum(moved) / 8 < -0.2
    assert sum(lost) / 8 > -0.03


def test_copies_of_the_target_with_another_label_are_left_out() -> None:
    clean, target, _ = aligned(0)
    rows = joined(gaussians(100, seed=90, features=20), labelled(target.x, 0), target)
    mask = mask_of(TargetedRONI(), rows, clean=clean, targets=target)
    assert not mask[-2]
    assert mask[-1]


def test_the_worst_of_several_targets_counts() -> None:
    clean, target, bad = aligned(0)
    far = labelled(-3 * target.x, 0)
    learners = TrialLearners.on(clean, torch.arange(60).view(3, 20), num_classes=2, decay=0.1)
    both, _ = target_impact(learners, bad, joined(far, target))
    alone = [target_impact(learners, bad, one)[0].item() for one in (far, target)]
    assert both.item() == pytest.approx(min(alone))
    assert alone[1] < -0.1


def test_a_flip_is_left_out_however_small_the_change() -> None:
    clean, target, _ = aligned(0)
    flipping = labelled(target.x, 0)
    learners = TrialLearners.on(clean, torch.arange(60).view(3, 20), num_classes=2, decay=0.1)
    _, flips = target_impact(learners, joined(flipping, target), target)
    assert flips.tolist() == [True, False]
    assert not mask_of(TargetedRONI(threshold=-1.0), flipping_among(clean, flipping), clean=clean, targets=target)[-1]


def flipping_among(clean: Split, bad: Split) -> Split:
    return joined(Split(clean.x[:10], clean.y[:10]), bad)


def test_a_target_that_is_wrong_anyway_is_not_flipped() -> None:
    clean, target, _ = aligned(0)
    learners = TrialLearners.on(clean, torch.arange(60).view(3, 20), num_classes=2, decay=0.1)
    wrong = labelled(target.x, 0)
    _, flips = target_impact(learners, labelled(target.x, 1), wrong)
    assert flips.tolist() == [False]


def test_changes_are_those_of_the_probability() -> None:
    clean, target, bad = aligned(1)
    learners = TrialLearners.on(clean, torch.arange(40).view(2, 20), num_classes=2, decay=0.1)
    asked = target.x.double().expand(2, -1, -1)
    before = learners.logits(asked).softmax(-1)[:, 0, 1].mean()
    [after] = learners.logits_with_each(bad.x, bad.y, asked)
    change, _ = target_impact(learners, bad, target)
    assert change.item() == pytest.approx(float(after.softmax(-1)[0, :, 0, 1].mean() - before))
    assert change.item() < 0


def test_filtering_again_by_the_same_trials_removes_nothing() -> None:
    clean, target, bad = aligned(0)
    rows = joined(gaussians(100, seed=90, features=20), bad)
    defense = TargetedRONI(threshold=Calibrated(rows=50))
    mask = mask_of(defense, rows, clean=clean, targets=target)
    assert not mask.all()
    assert bool(mask_of(defense, Split(rows.x[mask], rows.y[mask]), clean=clean, targets=target).all())


def test_without_targets_there_is_nothing_to_ask() -> None:
    clean, target, _ = aligned(0)
    with pytest.raises(ValueError, match="no targets was given"):
        mask_of(TargetedRONI(), clean, clean=clean)
    with pytest.raises(ValueError, match="targets: 0 rows: expected at least 1"):
        mask_of(TargetedRONI(), clean, clean=clean, targets=Split(target.x[:0], target.y[:0]))
