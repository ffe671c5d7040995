"""An attack that wants to know the test rows does not find them by anything that it can reach."""

import threading
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from gradshape import models
from gradshape.attacks import Attack, Knowledge, LabelFlip, PoisonSet, ThreatModel, VictimView
from gradshape.attacks.threat import Goal
from gradshape.data import Dataset, Split
from gradshape.training import SGD, Recipe, TrainedModel
from gradshape_bench.jobs import Craft
from tests.bench.engines.sample import KINDS, results
from tests.reachable import reachable, surroundings

RECIPE = Recipe("lr", SGD(0.1), batch_size=7, epochs=1)
NOTHING = replace(
    LabelFlip.threat,
    goal=Goal.INDISCRIMINATE,
    training_data=Knowledge.NONE,
    algorithm=Knowledge.NONE,
    parameters=Knowledge.NONE,
)
ROWS = replace(NOTHING, training_data=Knowledge.FULL)
TARGETED = replace(ROWS, goal=Goal.TARGETED, algorithm=Knowledge.FULL)

found: list[Any] = []


def rows(count: int, seed: int) -> Split:
    x = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))
    return Split(x, torch.arange(count) % 2)


DATA = Dataset("rows", rows(40, 0), rows(30, 1), num_classes=2)


@dataclass(frozen=True)
class Thief(Attack):
    """Keeps, for the test, what it can get at."""

    threat: ClassVar[ThreatModel] = ROWS

    @property
    def label(self) -> str:
        return "thief"

    def budget(self, train_rows: int) -> int:
        return 3

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        found.append(list(reachable(victim, self, generator, surroundings())))
        victim.report(1, 1, 0.0)
        return PoisonSet.added(torch.zeros(count, *victim.input_shape), torch.zeros(count, dtype=torch.int64))


class Blind(Thief):
    threat: ClassVar[ThreatModel] = NOTHING


class Aimed(Thief):
    threat: ClassVar[ThreatModel] = TARGETED


@dataclass(frozen=True)
class Counts(Thief):
    """Tells in its notes how many data sets and rows of others it can get at, wherever it runs."""

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        things = list(reachable(victim, self, generator, surroundings()))
        reached = [thing for thing in things if isinstance(thing, (Dataset, Craft))]
        tensors = [thing for thing in things if isinstance(thing, Tensor)]
        poison = super().craft(victim, count, generator=generator)
        return replace(poison, notes={"reached": len(reached), "tensors": len(tensors)})


def things_of(attack: Attack) -> list[Any]:
    found.clear()
    networks = (TrainedModel(replace(RECIPE, epochs=2), dict(models.build("lr", (3,), 2).named_parameters())),)
    secret = [DATA.test]

    def beat(progress: object) -> None:
        """Holds on to what the attack must not find."""
        assert secret

    Craft(DATA, "cpu", attack, recipe=RECIPE, seed=0, networks=networks).do(beat)
    [things] = found
    return list(things)


def has(things: list[Any], rows: Split) -> bool:
    return any(isinstance(thing, Tensor) and torch.equal(thing, rows.x) for thing in things)


@pytest.mark.parametrize("attack", [Blind(), Thief(), Aimed()], ids=["blind", "rows", "targeted"])
def test_nothing_leads_to_what_others_use(attack: Attack) -> None:
    things = things_of(attack)
    assert not any(isinstance(thing, (Dataset, Craft)) for thing in things)
    shared = {array.data_ptr() for split in (DATA.train, DATA.test) for array in (split.x, split.y)}
    assert not any(isinstance(thing, Tensor) and thing.data_ptr() in shared for thing in things)


@pytest.mark.parametrize(
    ("attack", "train", "test", "recipe"),
    [(Blind(), False, False, False), (Thief(), True, False, False), (Aimed(), True, True, True)],
    ids=["blind", "rows", "targeted"],
)
def test_what_is_granted_is_all_that_there_is(attack: Attack, train: bool, test: bool, recipe: bool) -> None:
    things = things_of(attack)
    assert has(things, DATA.train) == train
    assert has(things, DATA.test) == test
    assert any(thing is RECIPE for thing in things) == recipe
    assert any(isinstance(thing, torch.Generator) for thing in things)


def test_test_rows_are_for_targeted_attacks() -> None:
    with pytest.raises(PermissionError, match="sees no test rows"):
        _ = VictimView(ROWS, DATA).candidates
    assert len(VictimView(TARGETED, DATA).candidates) == len(DATA.test)


def test_it_runs_in_a_thread_of_its_own_that_ends() -> None:
    before = threading.active_count()
    things = things_of(Thief())
    threads = [thing for thing in things if isinstance(thing, threading.Thread)]
    assert threads
    assert threading.current_thread() not in threads
    assert threading.active_count() == before


@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize("kind", ["inline", "threads", "processes"])
def test_engines_leave_nothing_within_reach(kind: str) -> None:
    engine = KINDS[kind]()
    try:
        [poison] = results(engine, Craft(DATA, "cpu", Counts(), recipe=RECIPE, seed=0))
    finally:
        engine.close()
    # The train rows and their labels.
    assert poison.notes == {"reached": 0, "tensors": 2}
