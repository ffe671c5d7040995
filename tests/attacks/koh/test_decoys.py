"""Decoys: parameters that are wrong on purpose."""

import pytest
import torch

from gradshape.attacks.koh._decoys import Decoy, find_decoys, pareto_front
from gradshape.attacks.koh._regularised_hinge import AddedRows, RegularisedHinge
from gradshape.learners.hinge import signed_rows


def _learner() -> RegularisedHinge:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(80) % 2
    return RegularisedHinge(signed_rows(torch.rand(80, 3, generator=generator) + 0.2 * y[:, None], y), decay=0.02)


def test_none_of_them_is_beaten_in_both_loss_and_error() -> None:
    front = find_decoys(_learner(), quantiles=(0.1, 0.2, 0.4), repeats=(1, 3))
    for one in front:
        assert not any(other.loss <= one.loss and other.error >= one.error for other in front if other is not one)
    assert [decoy.error for decoy in front] == sorted((decoy.error for decoy in front), reverse=True)


def test_a_decoy_is_trained_on_flipped_copies_of_the_rows_of_least_margin() -> None:
    learner = _learner()
    [decoy] = find_decoys(learner, quantiles=(0.25,), repeats=(2,))
    margins = learner.rows @ learner.fit()
    chosen = margins.argsort()[:20]
    by_hand = learner.fit(AddedRows(-learner.rows[chosen].repeat(2, 1), torch.full((40,), 1 / 80).double()))
    assert torch.allclose(decoy.theta, by_hand, rtol=0, atol=1e-6)
    assert (decoy.loss, decoy.error) == (learner.mean_loss(decoy.theta), learner.error(decoy.theta))


def test_decoys_are_wrong_more_often_than_clean_parameters() -> None:
    learner = _learner()
    worst = find_decoys(learner, quantiles=(0.1, 0.4), repeats=(1, 3))[0]
    assert worst.error > learner.error(learner.fit())


def test_every_combination_is_tried_and_told() -> None:
    told: list[tuple[int, int, float]] = []
    find_decoys(_learner(), quantiles=(0.1, 0.2), repeats=(1, 2, 3), report=lambda *a: told.append(a))
    assert [(step, steps) for step, steps, _ in told] == [(step, 6) for step in range(1, 7)]


def test_of_equal_errors_the_least_loss_is_kept() -> None:
    tried = [Decoy(torch.zeros(1), loss, 0.3, 0.1, 1) for loss in (0.5, 0.2, 0.4)]
    assert [decoy.loss for decoy in pareto_front(tried)] == [0.2]


@pytest.mark.parametrize(
    ("quantiles", "repeats", "message"),
    [((), (1,), "at least one of each"), ((1.5,), (1,), r"quantiles=1\.5"), ((0.1,), (0,), "repeats=0")],
    ids=["none", "quantile", "repeat"],
)
def test_what_is_out_of_range_is_named(quantiles: tuple[float, ...], repeats: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_decoys(_learner(), quantiles=quantiles, repeats=repeats)
