"""Declaring many cases at once: a suite is a few of these and nothing else."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import pytest

from gradshape.attacks import Attack
from gradshape.defenses import Defense
from gradshape_bench.case import Case, ExpectedFailure, Scale, Task
from gradshape_bench.protocols.base import Protocol
from gradshape_bench.protocols.from_scratch import FromScratch
from gradshape_bench.verdict import Threshold

MARK = "matrix"
Test = TypeVar("Test", bound=Callable[..., None])
Item = TypeVar("Item")


@dataclass(frozen=True)
class Sized(Generic[Item]):
    """Attacks, defences or thresholds that differ between the scales."""

    smoke: Sequence[Item]
    paper: Sequence[Item]

    def at(self, scale: Scale) -> Sequence[Item]:
        """Those of one scale."""
        return self.smoke if scale is Scale.SMOKE else self.paper


@dataclass(frozen=True)
class Expect:
    """Which cases of a matrix are expected to miss a threshold, and why.

    Args:
        failure: reason and source.
        tasks, attacks, defenses: labels of data set and model (``digits-lr``), attack and defence; a case has to be
            in every list that is given.
        scales: where that was seen.
    """

    failure: ExpectedFailure
    tasks: Sequence[str] | None = None
    attacks: Sequence[str] | None = None
    defenses: Sequence[str] | None = None
    scales: Sequence[Scale] = (Scale.SMOKE, Scale.PAPER)

    def covers(self, case: Case) -> bool:
        """Whether it speaks of ``case``."""
        own = (f"{case.task.dataset}-{case.task.model}", case.attack.label, case.defense_label)
        chosen = (self.tasks, self.attacks, self.defenses)
        return case.scale in self.scales and all(c is None or o in c for o, c in zip(own, chosen, strict=True))


@dataclass(frozen=True)
class Matrix:
    """Every attack against every defence on every task.

    Args:
        tasks, attacks, defenses: the axes; all but the tasks may be :class:`Sized`.
        thresholds: what every case asserts; may be :class:`Sized`.
        expected_failures: the first that covers a case counts.
        protocol: the experiment.
        scales: scales at which these cases exist.
    """

    tasks: Sequence[Task]
    attacks: Sequence[Attack] | Sized[Attack]
    defenses: Sequence[Defense] | Sized[Defense]
    thresholds: Sequence[Threshold] | Sized[Threshold]
    expected_failures: Sequence[Expect] = ()
    protocol: Protocol = field(default=FromScratch())
    scales: Sequence[Scale] = (Scale.SMOKE, Scale.PAPER)

    def cases(self, scale: Scale, seeds: Sequence[int]) -> list[Case]:
        """The cases at one scale, in the order of the axes."""
        if scale not in self.scales:
            return []
        thresholds = tuple(_at(self.thresholds, scale))
        return [
            self._expecting(Case(task, attack, defense, scale, tuple(seeds), thresholds, self.protocol))
            for task in self.tasks
            for attack in _at(self.attacks, scale)
            for defense in _at(self.defenses, scale)
        ]

    def _expecting(self, case: Case) -> Case:
        failure = next((expect.failure for expect in self.expected_failures if expect.covers(case)), None)
        return case if failure is None else replace(case, expected_failure=failure)


def _at(items: Sequence[Item] | Sized[Item], scale: Scale) -> Sequence[Item]:
    return items.at(scale) if isinstance(items, Sized) else items


def benchmark_cases(*matrices: Matrix) -> Callable[[Test], Test]:
    """Run a test once for every case of ``matrices``; the test takes the ``outcome`` fixture.

    >>> @benchmark_cases(Matrix(tasks=[], attacks=[], defenses=[], thresholds=[]))
    ... def test_nothing(outcome):
    ...     outcome.check()
    """
    return getattr(pytest.mark, MARK)(*matrices)  # type: ignore[no-any-return]


def all_cases(matrices: Iterable[Matrix], scale: Scale, seeds: Sequence[int]) -> list[Case]:
    """The cases of several matrices at one scale; a case that two of them declare alike stands once."""
    return list(dict.fromkeys(case for matrix in matrices for case in matrix.cases(scale, seeds)))
