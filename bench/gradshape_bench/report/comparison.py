"""Two results files beside each other: which cases are in one alone, and which numbers differ by how much."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass

from gradshape.metrics import Estimate
from gradshape_bench.record import Record

_PARTS: Mapping[str, Callable[[Estimate], float | None]] = {
    "value": lambda estimate: estimate.value,
    "low": lambda estimate: estimate.low,
    "high": lambda estimate: estimate.high,
}


@dataclass(frozen=True)
class NumberDifference:
    """A number that two records of one case do not share.

    Attributes:
        case: scale and id.
        metric: its name.
        part: ``value``, ``low``, ``high`` or ``n``.
        before, after: what it was; ``None`` where there is none.
    """

    case: str
    metric: str
    part: str
    before: float | None
    after: float | None

    @property
    def size(self) -> float:
        """How far apart they are; infinite if one of them is missing or not finite."""
        if self.before is None or self.after is None:
            return math.inf
        size = abs(self.after - self.before)
        return size if math.isfinite(size) else math.inf

    def __str__(self) -> str:
        return f"{self.case}: {self.metric} {self.part} {_number(self.before)} -> {_number(self.after)}"


@dataclass(frozen=True)
class Comparison:
    """What two sets of records do not share.

    Attributes:
        missing: cases that are in the first one alone.
        new: cases that are in the second one alone.
        changed: cases whose status or one of whose verdicts is another, in words.
        differences: numbers that differ by more than is allowed, the largest of each metric first.
        compared: how many numbers were compared.
        cases: of how many cases.
    """

    missing: Sequence[str]
    new: Sequence[str]
    changed: Sequence[str]
    _: KW_ONLY
    differences: Sequence[NumberDifference]
    compared: int
    cases: int

    @property
    def same(self) -> bool:
        """Whether the cases that both have say the same, and the second one lacks none."""
        return not (self.missing or self.changed or self.differences)

    def lines(self) -> Iterator[str]:
        """For a reader: for each metric how many numbers differ, and the case where they do most."""
        yield f"{self.cases} cases in both, {self.compared} numbers compared"
        for title, cases in (("missing", self.missing), ("new", self.new), ("changed", self.changed)):
            yield from (f"{title}: {case}" for case in cases)
        of_metrics: dict[str, list[NumberDifference]] = {}
        for difference in self.differences:
            of_metrics.setdefault(difference.metric, []).append(difference)
        for metric, of_one in sorted(of_metrics.items()):
            worst = max(of_one, key=lambda difference: difference.size)
            yield f"{metric}: {len(of_one)} differ, most in {worst}"
        if self.same:
            yield "no number differs"


def compare(before: Sequence[Record], after: Sequence[Record], *, tolerance: float = 0.0) -> Comparison:
    """What has changed between two runs.

    Args:
        before, after: their records.
        tolerance: numbers that differ by no more are the same, at least 0.

    Raises:
        ValueError: ``tolerance`` is negative or not finite.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"tolerance={tolerance!r}: expected a number of at least 0")
    old, new = ({_name(record): record for record in records} for records in (before, after))
    both = [name for name in old if name in new]
    differences, compared = [], 0
    for name in both:
        for difference in _numbers(name, old[name].metrics, new[name].metrics):
            compared += 1
            if difference.before != difference.after and not _both_nan(difference) and difference.size > tolerance:
                differences.append(difference)
    return Comparison(
        missing=[name for name in old if name not in new],
        new=[name for name in new if name not in old],
        changed=[line for name in both for line in _changes(name, old[name], new[name])],
        differences=sorted(differences, key=lambda difference: -difference.size),
        compared=compared,
        cases=len(both),
    )


def _name(record: Record) -> str:
    return f"{record.scale} {record.case}"


def _numbers(name: str, old: Mapping[str, Estimate], new: Mapping[str, Estimate]) -> Iterator[NumberDifference]:
    for metric in sorted(old.keys() | new.keys()):
        before, after = old.get(metric), new.get(metric)
        for part, of in _PARTS.items():
            known = [None if estimate is None else of(estimate) for estimate in (before, after)]
            if known != [None, None]:
                yield NumberDifference(name, metric, part, *known)
        yield NumberDifference(
            name, metric, "n", *(None if estimate is None else estimate.n for estimate in (before, after))
        )


def _both_nan(difference: NumberDifference) -> bool:
    known = (difference.before, difference.after)
    return all(number is not None and math.isnan(number) for number in known)


def _changes(name: str, old: Record, new: Record) -> Iterator[str]:
    if old.status is not new.status:
        yield f"{name}: status {old.status.value} -> {new.status.value}"
    verdicts = {str(judgement.threshold): judgement for judgement in old.judgements}
    for judgement in new.judgements:
        before = verdicts.get(str(judgement.threshold))
        if before is not None and before.verdict is not judgement.verdict:
            yield f"{name}: {judgement.threshold} {before.verdict.value} -> {judgement.verdict.value}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"
