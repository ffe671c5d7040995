"""Made-up mail as counts, and that what is known of attacks on such mail is seen on it."""

from functools import cache

import numpy as np
import pytest
import torch

from gradshape.attacks import Attack, KohKkt, KohMinMax, LabelFlip, PoisonSet
from gradshape.constraints import FeasibleSets
from gradshape.data import info, load
from gradshape.training import Fit, Victim, train_victims

MAIL = load("mail_counts")
SVM = Fit("svm_linear", c=0.3)
DECAY, LEVELS = 1 / (0.3 * 600), 32


@cache
def poison_of(attack: Attack, seed: int = 0) -> PoisonSet:
    return attack(MAIL, seed=seed)


@cache
def error_with(attack: Attack | None, *, seed: int = 0) -> float:
    """Of the SVM on the test messages, from 0 to 1."""
    rows = None if attack is None else poison_of(attack, seed).rows
    return 1 - train_victims(MAIL, [Victim(SVM, 0, rows)])[0].best_accuracy


def test_it_is_loaded_without_a_file_and_holds_counts() -> None:
    assert info("mail_counts").embedded
    counts = MAIL.train.x.numpy() * LEVELS
    assert np.allclose(counts, counts.round())
    assert MAIL.train.y.bincount().tolist() == [300, 300]


def test_messages_differ_much_in_length_and_words_are_more_than_messages() -> None:
    words = MAIL.train.x.sum(1) * LEVELS
    assert words.quantile(0.9) > 8 * words.quantile(0.1)
    assert MAIL.train.x.shape[1] > 2 * len(MAIL.train)


def test_a_clean_svm_gets_a_few_percent_wrong() -> None:
    assert 0.02 < error_with(None) < 0.06


# One decoy is enough to see it.
KKT = KohKkt(0.03, decay=DECAY, levels=LEVELS, quantiles=(0.1,), repeats=(3,))
MIN_MAX = KohMinMax(0.03, decay=DECAY, levels=LEVELS, quantiles=(0.1,), repeats=(3,))


@pytest.mark.parametrize("attack", [KKT, MIN_MAX], ids=lambda attack: str(attack.family))
def test_three_percent_of_optimised_counts_do_far_more_than_flips_under_the_same_constraints(attack: KohKkt) -> None:
    # Koh, Steinhardt and Liang 2018: from 3 % to 24 % on Enron.
    control = attack.control
    assert isinstance(control, LabelFlip)
    flips = max(error_with(control, seed=seed) for seed in range(3))
    assert error_with(attack) > error_with(None) + 0.06
    assert error_with(attack) > flips + 0.03


def test_optimised_rows_are_counts_inside_the_sets() -> None:
    poison = poison_of(KKT)
    counts = poison.x.double() * LEVELS
    assert torch.allclose(counts, counts.round(), atol=1e-5)
    assert FeasibleSets.from_rows(MAIL.train.x, MAIL.train.y, quantile=0.9).contains(poison.x, poison.y).all()
    assert poison.notes["share_feasible"] == 1
