"""What a lab makes of a case, and a protocol of one's own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from gradshape.attacks import LabelFlip
from gradshape.data import load
from gradshape.defenses import Defense, NoDefense, PerfectFilter
from gradshape.metrics import mean_over_seeds, relative_accuracy_drop
from gradshape.training import Adam, Recipe
from gradshape_bench.case import Case, Scale, Task
from gradshape_bench.jobs import AnyJob, Craft, Filter, Train
from gradshape_bench.protocols import Accuracy, Experiment, Lab, Part, Protocol, Subject, experiment
from tests.bench.protocols.test_from_scratch import DropFirst
from tests.bench.spy import measured

MOONS = load("two_moons")
RECIPE = Recipe("lr", Adam(0.05), batch_size=64, epochs=2)


def case(defense: Defense | None = None, **fields: Any) -> Case:
    return Case(
        Task("two_moons", RECIPE), LabelFlip(0.1), defense or NoDefense(), scale=Scale.SMOKE, seeds=(3, 5), **fields
    )


def lab(defense: Defense | None = None) -> Lab:
    return Lab(case(defense), MOONS, "cpu")


def asked(part: Part[Any]) -> tuple[list[Sequence[AnyJob]], Any]:
    """The rounds of jobs that a part of an experiment asks for, and its end; a job's result is its kind and seed."""
    rounds = [next(part)]
    while True:
        try:
            rounds.append(part.send([answer(job) for job in rounds[-1]]))
        except StopIteration as stop:
            return rounds, stop.value


def answer(job: AnyJob) -> Any:
    assert isinstance(job, Craft | Filter | Train)
    return torch.tensor(job.seed) if isinstance(job, Filter) else (type(job), job.seed)


@dataclass(frozen=True)
class Doubled:
    """A protocol as a user would write it: the defended model is trained twice as long, with and without poison."""

    label: str = "doubled"

    def run(self, case: Subject, lab: Lab) -> Experiment:
        assert isinstance(case.recipe, Recipe)
        longer = replace(case.recipe, epochs=2 * case.recipe.epochs)
        poisons = yield from lab.ask(lab.craft(case.attack, longer))
        clean, poisoned = yield from lab.ask(lab.train(longer), lab.train(longer, poisons))
        rads = map(relative_accuracy_drop, Accuracy.BEST.of_each(clean), Accuracy.BEST.of_each(poisoned))
        metrics = {"rad": mean_over_seeds(list(rads))}
        return lab.measurement(metrics, recipe=longer, poisons=poisons, poisoned=poisoned)


def test_a_protocol_of_ones_own_is_run(tmp_path: Path) -> None:
    protocol: Protocol = Doubled()
    found = measured(tmp_path, case(protocol=protocol))
    assert found.metrics["rad"].n == 2
    assert found.details == {
        "accuracy": "best",
        "train_rows": 700,
        "test_rows": 300,
        "optimizer": "adam",
        "lr": 0.05,
        "batch_size": 64,
        "epochs": 4,
        "shaper": "",
        "budget": 70,
        "poison_rows": [70, 70],
    }


def test_a_protocol_of_ones_own_is_filtered_without_a_word(tmp_path: Path) -> None:
    plain, filtered, perfect = (
        measured(tmp_path, case(defense, protocol=Doubled())) for defense in (NoDefense(), DropFirst(), PerfectFilter())
    )
    assert filtered.metrics["rad"] != plain.metrics["rad"]
    assert perfect.metrics["rad"].value == pytest.approx(0, abs=0.01)


def test_results_come_in_the_groups_that_were_asked_for() -> None:
    ours = lab()
    rounds, (trained, crafted) = asked(ours.ask(ours.train(RECIPE), ours.craft(LabelFlip(0.1), RECIPE, seeds=[7])))
    assert [type(job) for job in rounds[0]] == [Train, Train, Craft]
    assert list(trained) == [(Train, 3), (Train, 5)]
    assert list(crafted) == [(Craft, 7)]
    assert crafted.jobs == rounds[0][2:]


def test_one_group_is_answered_by_its_results() -> None:
    ours = lab()
    assert list(asked(ours.ask(ours.train_unfiltered(RECIPE)))[1]) == [(Train, 3), (Train, 5)]


def test_all_filters_are_asked_in_one_round_before_the_trainings() -> None:
    ours = lab(DropFirst())
    groups = ours.train_unfiltered(RECIPE), ours.train(RECIPE), ours.train(RECIPE, seeds=[7])
    rounds, (free, kept, other) = asked(ours.ask(*groups))
    assert [{type(job) for job in jobs} for jobs in rounds] == [{Filter}, {Train}]
    assert [job.keep if job.keep is None else int(job.keep) for job in rounds[1] if isinstance(job, Train)] == [
        None,
        None,
        3,
        5,
        7,
    ]
    assert (free.filters, free.masks) == ((), [])
    assert [*kept.filters, *other.filters] == rounds[0]
    assert [int(mask) for mask in kept.masks] == [3, 5]


def test_the_filter_is_told_of_the_training_that_it_is_for() -> None:
    @dataclass(frozen=True)
    class Knowing(DropFirst):
        assumptions: ClassVar[Any] = replace(NoDefense.assumptions, knows_model=True, knows_targets=True)

    longer, ours = replace(RECIPE, epochs=9), lab(Knowing())
    poisons = [LabelFlip(0.1)(MOONS, seed=seed) for seed in (3, 5)]
    group = ours.train(longer, poisons, targets=[MOONS.test, MOONS.test])
    assert [(job.recipe, job.poison, job.seed, job.targets) for job in group.filters] == [
        (longer, poison, seed, MOONS.test) for poison, seed in zip(poisons, (3, 5), strict=True)
    ]


def test_a_number_of_items_that_is_none_of_the_jobs_is_refused() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        lab().train(RECIPE, [LabelFlip(0.1)(MOONS, seed=0)])


def test_a_defence_that_cannot_be_used_is_refused_before_anything_is_done() -> None:
    @dataclass(frozen=True)
    class Picky(DropFirst):
        def unsuitable(self, *arguments: Any) -> str:
            return "it is picky"

    with pytest.raises(ValueError, match="drop_first cannot be used on two_moons: it is picky"):
        next(experiment(Doubled(), case(Picky()), MOONS, "cpu"))
