from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gradshape.attacks import LabelFlip
from gradshape.data import Split, load
from gradshape.defenses import RONI, GradientShaping, NoDefense, OracleSphereSlabFilter
from gradshape.shaping import Clip
from gradshape.training import Adam, AnyRecipe, Recipe, TrainingResult
from gradshape_bench.cache import Cache
from gradshape_bench.case import Case, Scale, Task
from gradshape_bench.engines import ThreadEngine
from gradshape_bench.jobs import AnyJob, Craft, Filter, Train
from gradshape_bench.protocols import Accuracy, FromScratch, Lab, Measurement
from gradshape_bench.report.metric_definitions import METRICS
from gradshape_bench.schedule import Scheduler

MOONS = load("two_moons")
CASE = Case(
    Task("two_moons", Recipe("lr", Adam(0.05), batch_size=64, epochs=2)),
    LabelFlip(0.1),
    GradientShaping(Clip(1)),
    scale=Scale.SMOKE,
    seeds=(0, 1),
)


@dataclass(frozen=True)
class DropFirst(NoDefense):
    """Drops one row."""

    def label_for(self, recipe: AnyRecipe) -> str:
        return "drop_first"

    def keep(self, train: Split, *, generator: torch.Generator) -> Tensor:
        return torch.arange(len(train)) > 0


def trained(*accuracies: float) -> TrainingResult:
    return TrainingResult(torch.tensor(accuracies, dtype=torch.float64))


# By kind of victim the test accuracies after both epochs.
CURVES = {"vanilla": (0.8, 0.5), "clean": (0.6, 0.4), "poisoned": (0.3, 0.2)}


def answer(job: AnyJob, case: Case) -> Any:
    """The result of a job, made up."""
    if isinstance(job, Craft):
        return case.attack(MOONS, seed=job.seed)
    if isinstance(job, Filter):
        return torch.ones(len(MOONS.train) + (0 if job.poison is None else len(job.poison)), dtype=torch.bool)
    assert isinstance(job, Train)
    if job.poison is not None and len(job.poison):
        return trained(*CURVES["poisoned"])
    return trained(*CURVES["vanilla" if job.recipe == case.vanilla and job.keep is None else "clean"])


def experiment(case: Case) -> tuple[list[Sequence[AnyJob]], Measurement]:
    """What the protocol asks for, in rounds, and what it finds."""
    running = case.protocol.run(case, Lab(case, MOONS, "cpu"))
    rounds = [next(running)]
    while True:
        try:
            rounds.append(running.send([answer(job, case) for job in rounds[-1]]))
        except StopIteration as stop:
            return rounds, stop.value


def metrics(case: Case = CASE) -> dict[str, float]:
    return {name: estimate.value for name, estimate in experiment(case)[1].metrics.items()}


def test_references_and_poison_come_first() -> None:
    first = experiment(CASE)[0][0]
    assert [(type(job), job.seed) for job in first if isinstance(job, Train | Craft)] == [
        (Train, 0),
        (Train, 1),
        (Craft, 0),
        (Craft, 1),
    ]
    assert {job.recipe for job in first if isinstance(job, Train)} == {CASE.vanilla}


def test_defended_victims_come_second() -> None:
    second = [job for job in experiment(CASE)[0][1] if isinstance(job, Train)]
    assert [(job.recipe, job.seed, job.poison is not None) for job in second] == [
        (CASE.recipe, 0, False),
        (CASE.recipe, 1, False),
        (CASE.recipe, 0, True),
        (CASE.recipe, 1, True),
    ]


def test_victim_gets_the_poison_of_its_seed() -> None:
    victims = [job for job in experiment(CASE)[0][1] if isinstance(job, Train) and job.poison is not None]
    for job in victims:
        assert job.poison is not None
        assert job.poison.fingerprint == CASE.attack(MOONS, seed=job.seed).fingerprint


def test_defence_that_filters_nothing_is_not_asked() -> None:
    rounds, _ = experiment(CASE)
    assert [len(jobs) for jobs in rounds] == [4, 4]


def test_defence_that_filters_is_asked_about_clean_and_poisoned_rows() -> None:
    rounds, _ = experiment(replace(CASE, defense=DropFirst()))
    asked = [job for job in rounds[1] if isinstance(job, Filter)]
    assert [(job.seed, job.poison is not None) for job in asked] == [(0, False), (1, False), (0, True), (1, True)]


def test_victims_train_on_what_the_defence_keeps() -> None:
    rounds, _ = experiment(replace(CASE, defense=DropFirst()))
    kept = [None if job.keep is None else len(job.keep) for job in rounds[2] if isinstance(job, Train)]
    assert kept == [700, 700, 770, 770]


@pytest.mark.parametrize(
    ("name", "best", "last"),
    [
        ("rad", (0.6 - 0.3) / 0.6, (0.4 - 0.2) / 0.4),
        ("utility_loss", (0.8 - 0.6) / 0.8, (0.5 - 0.4) / 0.5),
        ("rad_vs_vanilla", (0.8 - 0.3) / 0.8, (0.5 - 0.2) / 0.5),
        ("accuracy_vanilla", 0.8, 0.5),
        ("accuracy_clean", 0.6, 0.4),
        ("accuracy_poisoned", 0.3, 0.2),
    ],
)
def test_metrics_are_those_of_the_definitions(name: str, best: float, last: float) -> None:
    found = metrics()
    assert (found[f"{name}_best"], found[f"{name}_last"]) == pytest.approx((best, last))


@pytest.mark.parametrize("epoch", Accuracy)
def test_metrics_without_suffix_are_those_of_the_chosen_epoch(epoch: Accuracy) -> None:
    found = metrics(replace(CASE, protocol=FromScratch(epoch)))
    chosen = {name: value for name, value in found.items() if name in METRICS}
    assert chosen == {name: found[f"{name}_{epoch.value}"] for name in chosen}
    assert {"rad", "utility_loss", "rad_vs_vanilla"} <= set(chosen)


def test_metrics_are_over_seeds() -> None:
    assert {estimate.n for estimate in experiment(CASE)[1].metrics.values()} == {2}


def test_details_say_how_it_was_trained() -> None:
    assert experiment(CASE)[1].details == {
        "accuracy": "best",
        "train_rows": 700,
        "test_rows": 300,
        "optimizer": "adam",
        "lr": 0.05,
        "batch_size": 64,
        "epochs": 2,
        "shaper": "c1",
        "budget": 70,
        "poison_rows": [70, 70],
    }


@pytest.mark.parametrize(("accuracy", "label"), [(Accuracy.BEST, "from_scratch"), (Accuracy.LAST, "from_scratch_last")])
def test_label_tells_which_epoch(accuracy: Accuracy, label: str) -> None:
    assert FromScratch(accuracy).label == label


def test_an_epoch_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"accuracy='last': expected one of Accuracy.BEST, Accuracy.LAST"):
        FromScratch("last")  # type: ignore[arg-type]


def test_who_is_given_trusted_rows_is_compared_with_those_alone(tmp_path: Path) -> None:
    """Training on all clean rows is what an oracle of all of them is compared with, and costs nothing."""
    engine = ThreadEngine(workers=1, max_memory=1 << 28)
    cases = [replace(CASE, defense=defense) for defense in (RONI(), OracleSphereSlabFilter(), NoDefense())]
    scheduler = Scheduler(cases, cache=Cache(tmp_path), engine=engine)
    few, every, none = (scheduler.measure(case).measurement for case in cases)
    assert few.metrics["accuracy_trusted"] != few.metrics["accuracy_vanilla"]
    assert all(0 < rows < few.details["train_rows"] for rows in few.details["trusted_rows"])
    assert every.metrics["rad_trusted"].values == (0.0, 0.0)
    assert every.metrics["accuracy_trusted"].values == every.metrics["accuracy_vanilla"].values
    assert "rad_trusted" not in none.metrics
