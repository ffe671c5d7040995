"""Declaring many cases at once: a suite is a few of these and nothing else."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Generic, TypeVar

import pytest

from gradshape.attacks import Attack
from gradshape.defenses import Defense
from gradshape_bench.case import UTILITY, Case, ExpectedFailure, Scale, Task, naming_parts_once, same_part
from gradshape_bench.protocols import FromScratch, Protocol, WorstCase, WorstOf
from gradshape_bench.verdict import Threshold

MARK = "matrix"
Test = TypeVar("Test", bound=Callable[..., None])
Value = TypeVar("Value", covariant=True)


@dataclass(frozen=True)
class Sized(Generic[Value]):
    """Tasks, attacks, defences, thresholds or a protocol that differ between the scales.

    >>> Sized(smoke=[1], paper=[1, 2, 3]).at(Scale.PAPER)
    [1, 2, 3]
    """

    smoke: Value
    paper: Value

    def at(self, scale: Scale) -> Value:
        """Return what is used at one scale."""
        return self.smoke if scale is Scale.SMOKE else self.paper


@dataclass(frozen=True)
class Expect:
    """Which cases are expected to miss a threshold, and why.

    Args:
        failure: reason and source.
        tasks, attacks, defenses: themselves, or their labels (of a task data set and model, ``digits-lr``); a case has
            to be in every list that is given.
        scales: where that was seen.
    """

    failure: ExpectedFailure
    _: KW_ONLY
    tasks: Sequence[Task | str] | None = None
    attacks: Sequence[Attack | str] | None = None
    defenses: Sequence[Defense | str] | None = None
    scales: Sequence[Scale] = (Scale.SMOKE, Scale.PAPER)

    def covers(self, case: Case) -> bool:
        """Say whether it speaks of ``case``."""
        return case.scale in self.scales and all(
            listed is None or any(axis.has(case, item) for item in listed) for axis, listed in self._listed()
        )

    def idle(self, cases: Iterable[Case]) -> list[str]:
        """Return what is listed and in none of the cases that it covers; itself, if it covers none.

        >>> Expect(ExpectedFailure("weak", "here"), attacks=["label_flop_10"]).idle([])
        ["Expect('weak', attacks=['label_flop_10'])"]
        """
        covered = [case for case in cases if self.covers(case)]
        if not covered:
            return [str(self)]
        return [
            repr(item)
            for axis, listed in self._listed()
            for item in listed or ()
            if not any(axis.has(case, item) for case in covered)
        ]

    def __str__(self) -> str:
        given = {"tasks": self.tasks, "attacks": self.attacks, "defenses": self.defenses}
        lists = "".join(f", {name}={list(listed)!r}" for name, listed in given.items() if listed is not None)
        return f"Expect({self.failure.reason!r}{lists})"

    def _listed(self) -> Iterator[tuple["_Axis", Sequence[object] | None]]:
        return zip(_AXES, (self.tasks, self.attacks, self.defenses), strict=True)


@dataclass(frozen=True)
class _Axis:
    """A part of cases that an expectation may list: how to take it from a case, and its label there."""

    part: Callable[[Case], object]
    label: Callable[[Case], str]

    def has(self, case: Case, item: object) -> bool:
        """Say whether the case has there what is listed: the part itself, or its label."""
        if isinstance(item, str):
            return item == self.label(case)
        part = self.part(case)
        return type(item) is type(part) and same_part(item, part)


_AXES = (
    _Axis(lambda case: case.task, lambda case: f"{case.task.dataset}-{case.task.model}"),
    _Axis(lambda case: case.attack, lambda case: case.attack.label),
    _Axis(lambda case: case.defense, lambda case: case.defense_label),
)


@dataclass(frozen=True)
class Matrix:
    """Every attack against every defence on every task.

    Where something differs between the scales it is :class:`Sized`.

    Args:
        tasks, attacks, defenses: the axes.
        thresholds: what every case asserts.
        expected_failures: the first that covers a case counts.
        utility: the largest loss on clean data with which a model still works, see
            :class:`~gradshape_bench.case.Case`; ``None`` for no bound.
        worst_case: whether the worst of all attacks is a case, too: :class:`~gradshape_bench.protocols.WorstCase`. It
            asserts the same thresholds.
        protocol: the experiment of every case.
        scales: scales at which these cases exist.
    """

    tasks: Sequence[Task] | Sized[Sequence[Task]]
    attacks: Sequence[Attack] | Sized[Sequence[Attack]]
    defenses: Sequence[Defense] | Sized[Sequence[Defense]]
    _: KW_ONLY
    thresholds: Sequence[Threshold] | Sized[Sequence[Threshold]]
    expected_failures: Sequence[Expect] = ()
    utility: float | None = UTILITY
    worst_case: bool = False
    protocol: Protocol | Sized[Protocol] = field(default=FromScratch())
    scales: Sequence[Scale] = (Scale.SMOKE, Scale.PAPER)

    def cases(self, scale: Scale, seeds: Sequence[int]) -> list[Case]:
        """Return the cases at one scale, in the order of the axes."""
        if scale not in self.scales:
            return []
        thresholds, protocol = tuple(_at(self.thresholds, scale)), _at(self.protocol, scale)
        attacks: list[tuple[Attack, Protocol]] = [(attack, protocol) for attack in _at(self.attacks, scale)]
        if self.worst_case:
            attacks.append((WorstOf(tuple(attack for attack, _ in attacks)), WorstCase(protocol)))
        return [
            self._expecting(
                Case(
                    task,
                    attack,
                    defense,
                    scale=scale,
                    seeds=tuple(seeds),
                    thresholds=thresholds,
                    utility=self.utility,
                    protocol=experiment,
                )
            )
            for task in _at(self.tasks, scale)
            for attack, experiment in attacks
            for defense in _at(self.defenses, scale)
        ]

    def _expecting(self, case: Case) -> Case:
        failure = next((expect.failure for expect in self.expected_failures if expect.covers(case)), None)
        return case if failure is None else replace(case, expected_failure=failure)


def _at(value: Value | Sized[Value], scale: Scale) -> Value:
    return value.at(scale) if isinstance(value, Sized) else value


def benchmark_cases(*matrices: Matrix) -> Callable[[Test], Test]:
    """Run a test once for every case of ``matrices``; the test takes the ``outcome`` fixture.

    Raises:
        ValueError: an expected failure, or something that is listed in one, is of no case that they declare.

    >>> @benchmark_cases(Matrix(tasks=[], attacks=[], defenses=[], thresholds=[]))
    ... def test_nothing(outcome):
    ...     outcome.check()
    """
    expecting: dict[int, tuple[Expect, list[Case]]] = {}
    with naming_parts_once():
        for matrix in matrices:
            if matrix.expected_failures:
                cases = [case for scale in Scale for case in matrix.cases(scale, (0,))]
                for expect in matrix.expected_failures:
                    expecting.setdefault(id(expect), (expect, []))[1].extend(cases)
        idle = [item for expect, cases in expecting.values() for item in expect.idle(cases)]
    if idle:
        raise ValueError(f"expected failures of no case that is declared: {', '.join(idle)}")
    return getattr(pytest.mark, MARK)(*matrices)  # type: ignore[no-any-return]


def all_cases(matrices: Iterable[Matrix], scale: Scale, seeds: Sequence[int]) -> list[Case]:
    """Return the cases of several matrices at one scale; a case that two of them declare alike stands once."""
    with naming_parts_once():
        return list(dict.fromkeys(case for matrix in matrices for case in matrix.cases(scale, seeds)))
