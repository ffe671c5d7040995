"""Cases that share jobs and stacks, for the tests of the scheduler."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradshape.attacks import Attack, LabelFlip
from gradshape.defenses import Defense, GradientShaping, NoDefense
from gradshape.shaping import Clip, Noise
from gradshape.training import SGD, Recipe
from gradshape_bench.cache import Cache
from gradshape_bench.case import Case, Scale, Task
from gradshape_bench.jobs import AnyJob, Train
from gradshape_bench.protocols import Experiment, Lab, Subject
from gradshape_bench.schedule import Scheduler
from tests.bench.spy import Spy

# Victims of two classes with noise and without share a stack if the optimizer is linear.
RECIPE = Recipe("lr", SGD(0.5), batch_size=64, epochs=2)
TASK = Task("two_moons", RECIPE)
PLAIN = NoDefense()
CLIPPED = GradientShaping(Clip(1))
NOISY = GradientShaping(Clip(1) | Noise(0.1))
FLIPS = LabelFlip(0.1), LabelFlip(0.3)
SEEDS = (0, 1)


def case(
    attack: Attack = FLIPS[0], defense: Defense = PLAIN, *, task: Task = TASK, seeds: tuple[int, ...] = SEEDS
) -> Case:
    return Case(task, attack, defense, scale=Scale.SMOKE, seeds=seeds)


GRID = [case(attack, defense) for attack in FLIPS for defense in (PLAIN, CLIPPED, NOISY)]


def scheduler(cases: Sequence[Case], folder: Path, engine: Spy | None = None) -> Scheduler:
    return Scheduler(cases, cache=Cache(folder), engine=engine or Spy())


def metrics(cases: Sequence[Case], folder: Path, asked: Sequence[Case] | None = None) -> dict[str, Any]:
    running = scheduler(cases, folder)
    return {case.id: running.measure(case).measurement.metrics for case in asked or cases}


@dataclass(frozen=True)
class Broken:
    """An experiment that fails after its first jobs."""

    label: str = "broken"

    def run(self, case: Subject, lab: Lab) -> Experiment:
        yield from lab.ask(lab.train(case.vanilla))
        raise RuntimeError("broken experiment")


def refuse_clipped(job: AnyJob) -> Exception | None:
    bad = isinstance(job, Train) and job.recipe == CLIPPED.shape(TASK.recipe)
    return RuntimeError("no clipping today") if bad else None
