"""How many jobs a second the scheduler plans, drops as equal, hands out and stores, where the jobs cost nothing.

    python -m tests.bench.scheduler_throughput [JOBS] [--alone]

Cases of an experiment of many trainings are measured by an engine that gives every job the same small result at once.
Half of the jobs that the cases ask for are other cases', so that as many are dropped as are done. Each distinct job is
named, looked up, claimed, handed out in a bundle of its stack, stored in a cache on disk, and given back.
"""

import argparse
import cProfile
import pstats
import tempfile
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from gradshape.attacks import NoAttack
from gradshape.defenses import NoDefense
from gradshape.training import SGD, Recipe, TrainingResult
from gradshape_bench.cache import Cache
from gradshape_bench.case import Case, Scale, Task
from gradshape_bench.engines import Bundle, Done
from gradshape_bench.jobs import Finished
from gradshape_bench.protocols import Experiment, Lab, Subject
from gradshape_bench.schedule import Scheduler

# Trainings that a case asks for; each half is shared with a neighbour.
_TRAININGS = 1000


@dataclass(frozen=True)
class Many:
    """An experiment of many trainings, which asks for them all at once.

    Args:
        first: seed of the first of them.
        count: how many there are.
        together: whether they are shuffled alike, so that they share a stack.
    """

    first: int
    count: int
    together: bool

    @property
    def label(self) -> str:
        return f"many_{self.first}"

    def run(self, case: Subject, lab: Lab) -> Experiment:
        seeds = range(self.first, self.first + self.count)
        orders = [0] * self.count if self.together else None
        trained = yield from lab.ask(lab.train(case.vanilla, seeds=seeds, order_seeds=orders))
        return lab.measurement({}, recipe=case.vanilla, poisons=None, poisoned=trained)


class Empty:
    """An engine whose jobs cost nothing.

    Attributes:
        workers: how many bundles it has at once.
        done: how many jobs it has done.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.done = 0
        self.finished = Finished(TrainingResult(torch.ones(1)), 1e-6)

    def run(self, bundles: Iterator[Bundle | None]) -> Generator[Done, None, None]:
        for bundle in bundles:
            if bundle is None:
                return
            for job in bundle:
                self.done += 1
                yield job, self.finished

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Throughput:
    """What was measured.

    Attributes:
        asked, done: trainings that cases asked for, and those that were done.
        seconds: time that it took.
    """

    asked: int
    done: int
    seconds: float

    def __str__(self) -> str:
        rate = self.asked / self.seconds
        return f"{self.asked:,} jobs asked for, {self.done:,} done: {self.seconds:.1f} s, {rate:,.0f} jobs/s"


def cases(jobs: int, *, trainings: int = _TRAININGS, together: bool = True) -> list[Case]:
    """Return cases that ask for so many jobs together, each of which two cases ask for."""
    task = Task("two_moons", Recipe("lr", SGD(0.5), batch_size=64, epochs=1))
    return [
        Case(
            task,
            NoAttack(),
            NoDefense(),
            scale=Scale.SMOKE,
            seeds=(0,),
            protocol=Many(first, trainings, together),
        )
        for first in range(0, jobs // 2, trainings // 2)
    ]


def measure(asked: list[Case], folder: Path, *, workers: int = 8) -> Throughput:
    """Measure all cases with finished jobs in ``folder``."""
    engine = Empty(workers)
    began = time.perf_counter()
    scheduler = Scheduler(asked, cache=Cache(folder), engine=engine)
    for case in asked:
        scheduler.measure(case)
    scheduler.close()
    seconds = time.perf_counter() - began
    return Throughput(
        sum(case.protocol.count for case in asked if isinstance(case.protocol, Many)), engine.done, seconds
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", type=int, nargs="?", default=100_000, metavar="JOBS")
    parser.add_argument("--trainings", type=int, default=_TRAININGS, help="of a case (default: %(default)s)")
    parser.add_argument("--alone", action="store_true", help="trainings that share no stack: a bundle each")
    parser.add_argument("--profile", action="store_true", help="say where the time goes")
    options = parser.parse_args()
    asked = cases(options.jobs, trainings=options.trainings, together=not options.alone)
    with tempfile.TemporaryDirectory() as folder:
        profile = cProfile.Profile()
        if options.profile:
            profile.enable()
        print("first:", measure(asked, Path(folder)), flush=True)
        profile.disable()
        if options.profile:
            pstats.Stats(profile).sort_stats("cumulative").print_stats(45)
            return
        print("again, from the cache:", measure(asked, Path(folder)))


if __name__ == "__main__":
    main()
