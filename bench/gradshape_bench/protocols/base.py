"""What an experiment is: a generator that asks for jobs, is given their results, and ends with what it measured."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from typing import Protocol as Interface

from gradshape.attacks import Attack
from gradshape.defenses import Defense
from gradshape.metrics import Estimate
from gradshape.training import AnyRecipe
from gradshape_bench.jobs import AnyJob

T = TypeVar("T")


@dataclass(frozen=True)
class Measurement:
    """What an experiment found.

    Attributes:
        metrics: by name.
        details: realised settings worth recording, as plain values.
        timed: jobs by what they did: the mean computing time of each group goes into the record.
    """

    metrics: Mapping[str, Estimate]
    details: Mapping[str, Any]
    timed: Mapping[str, Sequence[AnyJob]] = field(default_factory=dict)


# Part of an experiment that ends with a `T`: written with `yield from` inside another part, or the whole.
Part = Generator[Sequence[AnyJob], Sequence[Any], T]
Experiment = Part[Measurement]


class Subject(Interface):
    """What an experiment needs to know of its case."""

    @property
    def attack(self) -> Attack: ...

    @property
    def defense(self) -> Defense: ...

    @property
    def vanilla(self) -> AnyRecipe: ...

    @property
    def recipe(self) -> AnyRecipe: ...

    @property
    def surrogate(self) -> AnyRecipe | None: ...

    @property
    def seeds(self) -> tuple[int, ...]: ...
