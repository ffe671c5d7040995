"""Declaring many cases at once: a suite is a few of these and nothing else."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from bench.case import Case, ExpectedFailure, Scale, Task
from bench.protocols.base import Protocol
from bench.protocols.from_scratch import FromScratch
from bench.verdict import Threshold
from gradshape.attacks import Attack
from gradshape.defenses import Defense

MARK = "matrix"
Test = TypeVar("Test", bound=Callable[..., None])


@dataclass(frozen=True)
class Sized:
    """Attacks or defences that differ between the scales."""

    smoke: Sequence[Attack] | Sequence[Defense]
    paper: Sequence[Attack] | Sequence[Defense]


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
        tasks, attacks, defenses: the axes; attacks and defences may be :class:`Sized`.
        thresholds: what every case asserts.
        expected_failures: the first that covers a case counts.
        protocol: the experiment.
        scales: scales at which these cases exist.
    """

    tasks: Sequence[Task]
    attacks: Sequence[Attack] | Sized
    defenses: Sequence[Defense] | Sized
    thresholds: Sequence[Threshold]
    expected_failures: Sequence[Expect] = ()
    protocol: Protocol = field(default=FromScratch())
    scales: Sequence[Scale] = (Scale.SMOKE, Scale.PAPER)

    def cases(self, scale: Scale, seeds: Sequence[int]) -> list[Case]:
        """The cases at one scale, in the order of the axes."""
        if scale not in self.scales:
            return []
        cases = []
        for task in self.tasks:
            for attack in _at(self.attacks, scale):
                for defense in _at(self.defenses, scale):
                    case = Case(task, attack, defense, scale, tuple(seeds), tuple(self.thresholds), self.protocol)
                    cases.append(self._expecting(case))
        return cases

    def _expecting(self, case: Case) -> Case:
        failure = next((expect.failure for expect in self.expected_failures if expect.covers(case)), None)
        if failure is None:
            return case
        return Case(
            case.task,
            case.attack,
            case.defense,
            case.scale,
            case.seeds,
            case.thresholds,
            case.protocol,
            expected_failure=failure,
        )


def _at(axis: "Sequence[Attack] | Sequence[Defense] | Sized", scale: Scale) -> Sequence:  # type: ignore[type-arg]
    if isinstance(axis, Sized):
        return axis.smoke if scale is Scale.SMOKE else axis.paper
    return axis


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
