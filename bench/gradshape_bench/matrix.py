"""Declaring many cases at once: a suite is a few of these and nothing else."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Generic, TypeVar

import pytest

from gradshape.attacks import Attack
from gradshape.defenses import Defense
from gradshape_bench.case import UTILITY, Case, ExpectedFailure, Scale, Task, naming_parts_once, same_part
from gradshape_bench.left_out import LeftOut, attack_refused, defense_refused, describe
from gradshape_bench.parts import check_parts
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
    """Every attack against every defence on every task, as far as they apply to each other.

    Combinations that do not, such as a shaper on an estimator, are left out: :meth:`left_out` lists them with reasons,
    and pytest says how many there are. What only the data of a case will tell is found when the case runs: it is
    skipped. Where something differs between the scales it is :class:`Sized`.

    Args:
        tasks, attacks, defenses: the axes.
        thresholds: what every case asserts.
        expected_failures: the first that covers a case counts.
        utility: the largest loss on clean data with which a model still works, see
            :class:`~gradshape_bench.case.Case`; ``None`` for no bound.
        worst_case: whether the worst of all attacks that apply to a task, of at least two, is a case, too:
            :class:`~gradshape_bench.protocols.WorstCase`. It asserts the same thresholds.
        protocol: the experiment of every case.
        scales: scales at which these cases exist.

    Raises:
        TypeError: an axis is no list of such parts.
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

    def __post_init__(self) -> None:
        for scale in Scale:
            check_parts("tasks", _at(self.tasks, scale), Task)
            check_parts("attacks", _at(self.attacks, scale), Attack)
            check_parts("defenses", _at(self.defenses, scale), Defense)
            check_parts("thresholds", _at(self.thresholds, scale), Threshold)

    def cases(self, scale: Scale, seeds: Sequence[int]) -> list[Case]:
        """Return the cases at one scale, in the order of the axes: every combination that applies."""
        thresholds = tuple(_at(self.thresholds, scale))
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
                    protocol=protocol,
                )
            )
            for task, attack, defense, protocol, reason in self._combinations(scale)
            if reason is None
        ]

    def left_out(self, scale: Scale) -> list[LeftOut]:
        """Return the combinations at one scale that do not apply, in the order of the axes."""
        return [
            LeftOut(Case(task, attack, defense, scale=scale, seeds=(), protocol=protocol).id, reason)
            for task, attack, defense, protocol, reason in self._combinations(scale)
            if reason is not None
        ]

    def _combinations(self, scale: Scale) -> Iterator[tuple[Task, Attack, Defense, Protocol, str | None]]:
        """Give all combinations at one scale, each with the reason for which it does not apply, if any."""
        if scale not in self.scales:
            return
        defenses = _at(self.defenses, scale)
        for task in _at(self.tasks, scale):
            refused = [defense_refused(task, defense, scale) for defense in defenses]
            for attack, protocol, reason in self._attacks_on(task, scale):
                for defense, other in zip(defenses, refused, strict=True):
                    yield task, attack, defense, protocol, reason or other

    def _attacks_on(self, task: Task, scale: Scale) -> Iterator[tuple[Attack, Protocol, str | None]]:
        """Give each attack with its experiment and the reason for which it is none for the task, if any."""
        protocol, applying = _at(self.protocol, scale), []
        for attack in _at(self.attacks, scale):
            reason = attack_refused(task, attack, protocol, scale)
            if reason is None:
                applying.append(attack)
            yield attack, protocol, reason
        if self.worst_case and len(applying) > 1:
            yield WorstOf(tuple(applying)), WorstCase(protocol), None

    def _expecting(self, case: Case) -> Case:
        failure = next((expect.failure for expect in self.expected_failures if expect.covers(case)), None)
        return case if failure is None else replace(case, expected_failure=failure)


def _at(value: Value | Sized[Value], scale: Scale) -> Value:
    return value.at(scale) if isinstance(value, Sized) else value


def benchmark_cases(*matrices: Matrix) -> Callable[[Test], Test]:
    """Run a test once for every case of ``matrices``; the test takes the ``outcome`` fixture.

    Raises:
        TypeError: what is given is no matrix.
        ValueError: an expected failure, or something that is listed in one, is of no case that they declare; or
            nothing in a matrix applies.

    >>> @benchmark_cases(Matrix(tasks=[], attacks=[], defenses=[], thresholds=[]))
    ... def test_nothing(outcome):
    ...     outcome.check()
    """
    check_parts("matrices", matrices, Matrix)
    for matrix in matrices:
        for scale in Scale:
            _check_something_applies(matrix, scale)
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


def _check_something_applies(matrix: Matrix, scale: Scale) -> None:
    left_out = matrix.left_out(scale)
    if left_out and not matrix.cases(scale, (0,)):
        reasons = "\n".join(describe(left_out))
        raise ValueError(f"nothing in a matrix applies at {scale.value} scale: {reasons}")


def all_left_out(matrices: Iterable[Matrix], scale: Scale) -> list[LeftOut]:
    """Return what several matrices leave out at one scale; what two of them leave out alike stands once."""
    return list(dict.fromkeys(one for matrix in matrices for one in matrix.left_out(scale)))


def all_cases(matrices: Iterable[Matrix], scale: Scale, seeds: Sequence[int]) -> list[Case]:
    """Return the cases of several matrices at one scale; a case that two of them declare alike stands once."""
    with naming_parts_once():
        return list(dict.fromkeys(case for matrix in matrices for case in matrix.cases(scale, seeds)))
