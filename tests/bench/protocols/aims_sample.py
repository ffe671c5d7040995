"""Experiments on single targets without a training: an attack whose rows can be told apart, and made-up results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from gradshape.attacks import PoisonFrogs, PoisonSet, TargetedAttack, ThreatModel, VictimView
from gradshape.attacks.targeted_attack import poison_by_target
from gradshape.data import Dataset, Split
from gradshape.defenses import Assumptions, Defense, DefenseKind, GradientShaping, NoDefense, Suspect
from gradshape.shaping import Clip
from gradshape.training import Adam, AnyRecipe, OptimizerState, Recipe, Scoring, TrainingResult
from gradshape_bench.case import Case, Scale, Smoke, Task
from gradshape_bench.jobs import AnyJob, Craft, Filter, Train
from gradshape_bench.protocols import By, Lab, Measurement, Protocol, Retrained
from gradshape_bench.targets import Targets
from tests.bench.spy import Spy, measured
from tests.training.samples import blobs

DATA = blobs(rows=60, test=60)
RECIPE = Recipe("lr", Adam(0.05), batch_size=10, epochs=3)
CLIPPED = GradientShaping(Clip(0.5), rate=2)
# The best of three epochs is the second one.
CURVE = (0.5, 1.0, 0.75)
STATE = {"head.weight": torch.zeros(3, 5), "head.bias": torch.zeros(3)}
MEMORY = OptimizerState(12, (STATE, STATE))
MOST = 6


@dataclass(frozen=True)
class Numbered(TargetedAttack):
    """Row number ``i`` for a target is ``i`` hundredths everywhere.

    Args:
        without: places of the targets that there is no row for.
    """

    without: tuple[int, ...] = ()

    threat: ClassVar[ThreatModel] = PoisonFrogs.threat

    @property
    def label(self) -> str:
        return f"numbered_{self.poisons}"

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        places, bases = [], []
        for place, intended in enumerate(victim.intended.tolist()):
            if place not in self.without:
                rows = (victim.candidates.y == intended).nonzero().squeeze(1)[:count].tolist()
                places += [place] * len(rows)
                bases += rows
        target = torch.tensor(places, dtype=torch.int64)
        numbers = torch.tensor([places[:i].count(place) for i, place in enumerate(places)], dtype=torch.float32)
        x = (numbers / 100).view(-1, *[1] * len(victim.input_shape)).expand(-1, *victim.input_shape).contiguous()
        return poison_by_target(
            x, victim.intended[target], target, torch.tensor(bases, dtype=torch.int64), numbers / 10
        )


@dataclass(frozen=True)
class Together(Numbered):
    """Whose rows work together only."""

    joint: ClassVar[bool] = True


@dataclass(frozen=True)
class Guessing(Numbered):
    """Crafts on networks of its own."""

    substitutes: tuple[Recipe, ...] = ()


@dataclass(frozen=True)
class Copies(TargetedAttack):
    """Copies of the target under the label of the intended class."""

    threat: ClassVar[ThreatModel] = PoisonFrogs.threat

    @property
    def label(self) -> str:
        return f"copies_{self.poisons}"

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        target = torch.arange(len(victim.intended)).repeat_interleave(count)
        intended = victim.intended[target]
        base = torch.stack([(victim.candidates.y == label).nonzero()[0, 0] for label in intended.tolist()])
        return poison_by_target(victim.target.x[target], intended, target, base, torch.zeros(len(target)))


@dataclass(frozen=True)
class DropLast(Defense):
    """Drops the last row that it is shown, and knows model and targets."""

    assumptions: ClassVar[Assumptions] = replace(
        NoDefense.assumptions, kind=DefenseKind.OUTLIER_REMOVAL, knows_targets=True, knows_model=True
    )

    def label_for(self, recipe: AnyRecipe) -> str:
        return "drop_last"

    def keep(self, train: Suspect, *, generator: torch.Generator) -> Tensor:
        raise AssertionError("answered without asking")


@dataclass(frozen=True)
class KeepAll(DropLast):
    """Asked for every training, and drops nothing."""

    def label_for(self, recipe: AnyRecipe) -> str:
        return "keep_all"

    def keep(self, train: Suspect, *, generator: torch.Generator) -> Tensor:
        return torch.ones(len(train), dtype=torch.bool)


# Few rows, so that a single one can be learnt by heart.
SMALL = Task("digits_38", Recipe("mlp1", Adam(0.01), batch_size=10, epochs=4), smoke=Smoke(train_rows=60))
SMALL_TARGETS = Targets(3, (0, 1))
SMALL_START = Retrained(6, base=By.DEFENDED, again=By.DEFENDED, remembers=True)


def small(protocol: Protocol, defense: Defense | None = None) -> Case:
    """A case that is really trained, in about a second."""
    return Case(SMALL, Copies(6), defense or NoDefense(), scale=Scale.SMOKE, seeds=(0, 1), protocol=protocol)


def measure(folder: Path, chosen: Case, *beside: Case, workers: int = 1) -> Measurement:
    """What a case's experiment finds, with other cases in the same session."""
    return measured(folder, chosen, *beside, engine=Spy(workers=workers))


@dataclass(frozen=True)
class Run:
    """One re-training.

    Attributes:
        row: place of its target in the test split.
        rows: numbers of the poison rows in it; of a control, how many clean rows stand in their place.
        clean: whether it is of the control.
        job: itself.
    """

    row: int
    rows: tuple[int, ...]
    clean: bool
    job: Train = field(compare=False, repr=False)


@dataclass(frozen=True)
class Became:
    """What a re-training came to.

    Attributes:
        won: whether its target is taken for the intended class in the end.
        accuracy: test accuracy in the end; that of the base is 1.
        epochs: that it was trained.
    """

    won: bool = False
    accuracy: float = 1.0
    epochs: int = 4


Fate = Callable[[Run], Became]


def nothing(run: Run) -> Became:
    return Became()


def won_by(*numbers: int) -> Fate:
    """Success of these single poison rows, or prefixes of so many rows."""
    return lambda run: Became(not run.clean and len(run.rows) in numbers)


def shot(*numbers: int) -> Fate:
    """Success of the poison rows with these numbers."""
    return lambda run: Became(not run.clean and run.rows[0] in numbers)


@dataclass
class Play:
    """An experiment that is told what its jobs gave.

    Attributes:
        rounds: its jobs.
        found: what it measured.
    """

    rounds: list[Sequence[AnyJob]]
    found: Measurement

    @property
    def trainings(self) -> list[Train]:
        return [job for jobs in self.rounds for job in jobs if isinstance(job, Train)]

    @property
    def bases(self) -> list[Train]:
        return [job for job in self.trainings if job.keep_states]

    @property
    def runs(self) -> list[Run]:
        """The re-trainings, in order; once for each target that they are watched for."""
        return [run for job in self.trainings if job.initial is not None for run in runs_of(job)]

    @property
    def attacks(self) -> list[Run]:
        return [run for run in self.runs if not run.clean]

    @property
    def controls(self) -> list[Run]:
        return [run for run in self.runs if run.clean]

    @property
    def filters(self) -> list[Filter]:
        return [job for jobs in self.rounds for job in jobs if isinstance(job, Filter)]

    @property
    def values(self) -> dict[str, tuple[float, int]]:
        """Metrics with the number of their observations."""
        return {name: (estimate.value, estimate.n) for name, estimate in self.found.metrics.items()}


def case(
    protocol: Protocol, *, attack: Any = None, defense: Defense | None = None, seeds: tuple[int, ...] = (0,)
) -> Case:
    """A case on :data:`DATA`."""
    attack, defense = attack or Numbered(MOST), defense or NoDefense()
    return Case(Task("blobs", RECIPE), attack, defense, scale=Scale.PAPER, seeds=seeds, protocol=protocol)


def play(case: Case, fate: Fate = nothing, *, missed: int = 0, data: Dataset = DATA) -> Play:
    """Run an experiment.

    Args:
        case: whose.
        fate: what becomes of a re-training.
        missed: how many of the first rows that are considered the base models misclassify.
        data: what it is run on.
    """
    experiment = case.protocol.run(case, Lab(case, data, "cpu"))
    rounds = [next(experiment)]
    while True:
        try:
            rounds.append(experiment.send([_answer(job, fate, missed) for job in rounds[-1]]))
        except StopIteration as stop:
            return Play(rounds, stop.value)


def runs_of(job: Train) -> list[Run]:
    """Which re-trainings a job is."""
    assert job.watch is not None
    assert job.poison is not None
    clean = job.poison.aims is None
    numbers = range(len(job.poison)) if clean else (100 * job.poison.x.flatten(1)[:, 0]).round().int().tolist()
    rows = [int((DATA.test.x == x).flatten(1).all(1).nonzero()) for x in job.watch.x]
    return [Run(row, tuple(numbers), clean, job) for row in rows]


def _answer(job: AnyJob, fate: Fate, missed: int) -> Any:
    if isinstance(job, Craft):
        return job.attack(job.dataset, seed=job.seed, target=job.target, intended=job.intended, networks=job.networks)
    if isinstance(job, Filter):
        keep = torch.ones(len(job.dataset.train) + (0 if job.poison is None else len(job.poison)), dtype=torch.bool)
        keep[-1] = False
        return keep
    assert isinstance(job, Train)
    if job.initial is None:
        return _trained(job, missed)
    assert job.watch is not None
    became = [fate(run) for run in runs_of(job)]
    intended = (job.watch.y + 1) % 3
    before = [job.watch.y] * (became[0].epochs - 1)
    won = torch.tensor([one.won for one in became])
    accuracy = [1.0] * len(before) if job.scoring is Scoring.EVERY_EPOCH else []
    return TrainingResult(
        torch.tensor([*accuracy, became[0].accuracy], dtype=torch.float64),
        predictions=torch.stack([*before, torch.where(won, intended, job.watch.y)]),
    )


def _trained(job: Train, missed: int) -> TrainingResult:
    accuracy = torch.tensor(CURVE, dtype=torch.float64)
    predictions = None
    if job.watch is not None:
        wrong = (torch.arange(len(job.watch)) < missed).long()
        # Only in the best epoch are they right.
        right = (job.watch.y + wrong) % 3
        predictions = torch.stack([(right + 1) % 3, right, (right + 1) % 3])
    if not job.keep_states:
        return TrainingResult(accuracy, predictions=predictions)
    other = {name: value + 1 for name, value in STATE.items()}
    memory = MEMORY if job.keep_optimizer else None
    return TrainingResult(accuracy, predictions=predictions, last=other, best=STATE, best_optimizer=memory)


def rows_of(split: Split, ids: Sequence[int]) -> Tensor:
    """Inputs of these rows."""
    return split.x[torch.tensor(list(ids))]
