"""Poison for single targets in trainings from scratch."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from gradshape.attacks import LabelFlip, PoisonFrogs, PoisonSet, TargetedAttack, VictimView
from gradshape.attacks.targeted_attack import poison_by_target
from gradshape.defenses import NoDefense
from gradshape.training import SGD, Adam, Fit, Recipe
from gradshape_bench.case import Case, Scale, Task
from gradshape_bench.jobs import Craft, Train
from gradshape_bench.protocols import Counted, Measurement, ScratchTargets, meaning
from gradshape_bench.targets import Targets
from tests.bench.spy import Spy, measured

SURROGATE = Recipe("lr", Adam(0.05), batch_size=32, epochs=3)
NETWORK = Task("digits_38", Recipe("lr", Adam(0.05), batch_size=32, epochs=3))
ESTIMATOR = Task("digits_38", Fit("logistic"), surrogate=SURROGATE)


@dataclass(frozen=True)
class Copies(TargetedAttack):
    """Copies of each target under its intended class."""

    substitutes: tuple[Recipe, ...] = ()

    threat: ClassVar = PoisonFrogs(1).threat

    @property
    def label(self) -> str:
        return f"copies_{self.poisons}"

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        assert victim.networks
        target = torch.arange(len(victim.target)).repeat_interleave(count)
        base = torch.stack([(victim.candidates.y == label).nonzero()[0, 0] for label in victim.intended])
        distance = torch.zeros(len(target))
        return poison_by_target(victim.target.x[target], victim.intended[target], target, base[target], distance)


@dataclass(frozen=True)
class Nothing(Copies):
    """It finds no poison for any target."""

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        none = torch.zeros(0, dtype=torch.int64)
        return poison_by_target(victim.target.x[none], none, none, none, torch.zeros(0))


def measure(
    folder: Path, attack: Any, *, task: Task = ESTIMATOR, engine: Spy | None = None, **settings: Any
) -> Measurement:
    protocol = ScratchTargets(Targets(3), **settings)
    case = Case(task, attack, NoDefense(), scale=Scale.PAPER, seeds=(0, 1), protocol=protocol)
    return measured(folder, case, engine=engine)


@pytest.mark.parametrize("task", [ESTIMATOR, NETWORK], ids=["estimator", "network"])
def test_enough_copies_win_every_target_and_clean_rows_none(tmp_path: Path, task: Task) -> None:
    found = measure(tmp_path, Copies(300), task=task)
    assert (found.metrics["success_rate"].value, found.metrics["success_rate_control"].value) == (1, 0)
    assert found.details["targets"] == 6
    assert found.details["candidates"] == [300] * 6


def test_poison_is_crafted_on_the_surrogate_which_is_recorded(tmp_path: Path) -> None:
    engine = Spy()
    found = measure(tmp_path, Copies(2), engine=engine)
    assert found.details["crafted_on"] == ["lr"]
    crafted = [job for job in engine.done if isinstance(job, Craft)]
    assert [network.recipe for job in crafted for network in job.networks] == [SURROGATE] * 2
    # It is trained with seeds of its own, and never by the victim's.
    trained = {job.seed for job in engine.done if isinstance(job, Train) and job.recipe == SURROGATE}
    assert len(trained) == 2
    assert not trained & {0, 1}


def test_substitutes_of_the_attack_come_before_the_surrogate(tmp_path: Path) -> None:
    other = replace(SURROGATE, model="mlp1")
    assert measure(tmp_path, Copies(2, substitutes=(other, SURROGATE))).details["crafted_on"] == ["mlp1", "lr"]


def test_victims_are_trained_with_all_rows_of_their_target_and_no_other(tmp_path: Path) -> None:
    engine = Spy()
    measure(tmp_path, Copies(5), engine=engine)
    poisoned = [job for job in engine.done if isinstance(job, Train) and job.poison is not None and len(job.poison)]
    assert len(poisoned) == 2 * 6
    for job in poisoned:
        assert job.poison is not None
        assert job.watch is not None
        assert len(job.poison) == 5
        assert job.watch.x.shape[0] == 1
        aimed = job.poison.aims is not None
        assert aimed == bool((job.poison.x == job.watch.x).all())


def test_targets_without_poison_are_told_and_do_not_count(tmp_path: Path) -> None:
    found = measure(tmp_path, Nothing(3))
    assert found.details["targets_without_poison"] == 6
    assert (found.metrics["success_rate"].n, found.metrics["success_rate"].high) == (0, 1)


def test_a_target_that_only_one_epoch_takes_counts_where_any_does(tmp_path: Path) -> None:
    # A large step after each epoch's few rows: what it predicts goes to and fro.
    task = Task("digits_38", Recipe("lr", SGD(5.0), batch_size=32, epochs=4))
    last = measure(tmp_path, Copies(20), task=task).details["successes"]
    ever = measure(tmp_path, Copies(20), task=task, counted=Counted.ANY_EPOCH).details["successes"]
    assert ever >= last


def test_what_cannot_be_attacked_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'label_flip_10' does not aim at single targets"):
        measure(tmp_path, LabelFlip(0.1))
    with pytest.raises(ValueError, match="'logistic' is none: give the attack substitutes, or the task a surrogate"):
        measure(tmp_path, Copies(1), task=replace(ESTIMATOR, surrogate=None))
    with pytest.raises(ValueError, match="expected one of"):
        ScratchTargets(Targets(3), counted="any")  # type: ignore[arg-type]


def test_labels_have_meanings() -> None:
    assert ScratchTargets(Targets(3)).label == "scratch_targets"
    label = ScratchTargets(Targets(3, (3, 4)), counted=Counted.ANY_EPOCH).label
    assert label == "scratch_targets_3to4_any_epoch"
    assert "Targets are of class 3, to be taken for 4. Any epoch counts." in (meaning(label) or "")
