"""Spam made of the words of one message."""

from pathlib import Path

import pytest
import torch

from gradshape.attacks import FocusedAttack, Goal, PoisonSet
from gradshape.data import Split
from gradshape.defenses import NoDefense
from gradshape.testing._datasets import words
from gradshape.training import Fit
from gradshape_bench.cache import Cache
from gradshape_bench.case import Case, Scale, Task
from gradshape_bench.engines import ThreadEngine
from gradshape_bench.protocols import Targeted
from gradshape_bench.schedule import Scheduler
from tests.training.samples import blobs

DATASET = words(words=300)
HAM = Split(DATASET.test.x[DATASET.test.y == 0][:2], torch.zeros(2, dtype=torch.int64))


def crafted(attack: FocusedAttack, *, targets: int = 1, seed: int = 0) -> PoisonSet:
    return attack(DATASET, seed=seed, target=Split(HAM.x[:targets], HAM.y[:targets]))


def test_all_rows_hold_the_same_known_words_of_the_target_and_are_spam() -> None:
    poison = crafted(FocusedAttack(0.2, known=0.5))
    assert len(poison) == 12
    assert len(poison.x.unique(dim=0)) == 1
    assert (poison.x <= HAM.x[0]).all()
    assert poison.y.tolist() == [1] * 12
    assert poison.source.tolist() == [-1] * 12


@pytest.mark.parametrize("known", [0.2, 0.5, 0.9])
def test_each_word_is_known_by_that_chance(known: float) -> None:
    held = [float(crafted(FocusedAttack(0.02, known=known), seed=seed).x[0].sum()) for seed in range(20)]
    assert sum(held) / 20 / float(HAM.x[0].sum()) == pytest.approx(known, abs=0.05)


def test_at_the_ends_all_words_or_none_are_known() -> None:
    assert torch.equal(crafted(FocusedAttack(0.02, known=1)).x[0], HAM.x[0])
    assert not crafted(FocusedAttack(0.02, known=0)).x.any()


def test_several_targets_take_turns() -> None:
    poison = crafted(FocusedAttack(0.1, known=1), targets=2)
    assert torch.equal(poison.x, HAM.x[torch.tensor([0, 1, 0, 1, 0, 1])])


def test_headers_are_words_of_a_spam_message_each() -> None:
    poison = crafted(FocusedAttack(0.2, known=0, header=1))
    assert torch.equal(poison.x, DATASET.train.x[poison.source])
    assert (DATASET.train.y[poison.source] == 1).all()
    assert len(poison.source.unique()) == len(poison)


def test_headers_come_on_top_of_what_is_known() -> None:
    poison = crafted(FocusedAttack(0.2, known=1, header=0.3))
    added = poison.x - HAM.x[0]
    assert (added >= 0).all()
    assert (added <= DATASET.train.x[poison.source]).all()
    assert 0 < added.sum() < (DATASET.train.x[poison.source] > HAM.x[0]).sum()


def test_it_is_targeted() -> None:
    assert FocusedAttack.threat.goal is Goal.TARGETED
    with pytest.raises(ValueError, match="target="):
        FocusedAttack(0.1)(DATASET, seed=0)


def test_a_target_that_is_spam_is_refused() -> None:
    spam = Split(HAM.x[:1], torch.ones(1, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"focused_known90_10: the target is of class 1.*expected class 0"):
        FocusedAttack(0.1)(DATASET, seed=0, target=spam)
    assert FocusedAttack(0.1, spam=0)(DATASET, seed=0, target=spam).y.tolist() == [0] * 6


def test_data_without_words_is_refused() -> None:
    pictures = blobs(classes=2, shape=(1, 4, 4))
    with pytest.raises(ValueError, match=r"shape \(1, 4, 4\): expected \(V,\)"):
        FocusedAttack(0.1)(pictures, seed=0, target=pictures.test)


def test_labels_name_intensity_last() -> None:
    attack = FocusedAttack(0.03)
    assert (attack.label, attack.family) == ("focused_known90_3", "focused_known90")
    attack = FocusedAttack(0.005, known=0.5, header=0.25, spam=0)
    assert attack.label == "focused_known50_header25_as0_0.5"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"fraction": -1}, "fraction=-1"),
        ({"fraction": 0.1, "known": 1.1}, "known=1.1"),
        ({"fraction": 0.1, "header": -0.1}, "header=-0.1"),
        ({"fraction": 0.1, "spam": -1}, "spam=-1"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        FocusedAttack(**values)  # type: ignore[arg-type]


def test_three_percent_hide_a_message_that_is_known_well_and_seldom_one_that_is_not(tmp_path: Path) -> None:
    attacks = [FocusedAttack(0.03), FocusedAttack(0.03, known=0.3)]
    cases = [
        Case(
            Task("spam_zipf", Fit("spambayes")),
            attack,
            NoDefense(),
            scale=Scale.PAPER,
            seeds=(0,),
            protocol=Targeted(targets=10),
        )
        for attack in attacks
    ]
    scheduler = Scheduler(cases, cache=Cache(tmp_path), engine=ThreadEngine(workers=1, max_memory=1 << 28))
    well, badly = (scheduler.measure(case).measurement.metrics["success_rate"].value for case in cases)
    assert well >= 0.9
    assert badly <= 0.5
