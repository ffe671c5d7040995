"""What an experiment is: a generator that yields jobs and receives their results."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from typing import Protocol as Interface

from bench.jobs import Job
from gradshape.attacks import Attack
from gradshape.data import Dataset
from gradshape.defenses import Defense
from gradshape.metrics import Estimate
from gradshape.training import Recipe


@dataclass(frozen=True)
class Measurement:
    """What an experiment found.

    Attributes:
        metrics: by name.
        details: realised settings worth recording, as plain values.
    """

    metrics: Mapping[str, Estimate]
    details: Mapping[str, Any]


Experiment = Generator[Sequence[Job], Sequence[Any], Measurement]


class Subject(Interface):
    """What an experiment needs to know of its case."""

    @property
    def attack(self) -> Attack: ...

    @property
    def defense(self) -> Defense: ...

    @property
    def vanilla(self) -> Recipe: ...

    @property
    def recipe(self) -> Recipe: ...

    @property
    def seeds(self) -> tuple[int, ...]: ...


class Protocol(Interface):
    """A frozen dataclass with these members. ``run`` is written straight down the page: it yields a list of jobs, gets
    back their results in the same order, and may yield again, knowing them. Scheduling, sharing and caching are not
    its business.
    """

    @property
    def label(self) -> str:
        """Name for ids and records."""
        ...

    def run(self, case: Subject, dataset: Dataset, device: str) -> Experiment:
        """The experiment of one case."""
        ...
