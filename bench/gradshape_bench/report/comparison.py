"""Comparing two results files: which cases only one of them has, and in what the others differ."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass

from gradshape.metrics import Estimate
from gradshape_bench.records.record import Record
from gradshape_bench.verdict import Judgement

_PARTS: Mapping[str, Callable[[Estimate], float | None]] = {
    "value": lambda estimate: estimate.value,
    "low": lambda estimate: estimate.low,
    "high": lambda estimate: estimate.high,
}


@dataclass(frozen=True)
class NumberDifference:
    """A number before and after, of one case.

    Attributes:
        case: scale and id.
        metric: name of the metric.
        part: part of the estimate: ``value``, ``low``, ``high``, ``n``, or which of its ``values``.
        before, after: the two numbers; ``None`` where there is none.
    """

    case: str
    metric: str
    part: str
    before: float | None
    after: float | None

    @property
    def size(self) -> float:
        """The absolute difference; infinite if one of the numbers is missing or not finite."""
        if self.before is None or self.after is None:
            return math.inf
        size = abs(self.after - self.before)
        return size if math.isfinite(size) else math.inf

    def __str__(self) -> str:
        return f"{self.case}: {self.metric} {self.part} {_number(self.before)} -> {_number(self.after)}"


@dataclass(frozen=True)
class Comparison:
    """The differences between two sets of records.

    Attributes:
        missing: cases that only the first set has.
        new: cases that only the second set has.
        changed: one line for each status, threshold, verdict, list of seeds, confidence, data set and challenge that
            changed.
        differences: numbers that differ by more than is allowed, the largest difference first.
        compared: how many numbers were compared.
        cases: how many cases both sets have.
        redefined: how many of these have another fingerprint. That is no difference by itself: fingerprints change
            with the code that cases are made of, too, and what a case measures is compared.
    """

    missing: Sequence[str]
    new: Sequence[str]
    changed: Sequence[str]
    _: KW_ONLY
    differences: Sequence[NumberDifference]
    compared: int
    cases: int
    redefined: int = 0

    @property
    def same(self) -> bool:
        """Whether both sets have the same cases, and nothing differs in them."""
        return not (self.missing or self.new or self.changed or self.differences)

    def lines(self) -> Iterator[str]:
        """Yield a summary: for each metric how many numbers differ, and the case where they differ most."""
        yield f"{self.cases} cases in both, {self.compared} numbers compared"
        for title, cases in (("missing", self.missing), ("new", self.new), ("changed", self.changed)):
            yield from (f"{title}: {case}" for case in cases)
        by_metric: dict[str, list[NumberDifference]] = {}
        for difference in self.differences:
            by_metric.setdefault(difference.metric, []).append(difference)
        for metric, found in sorted(by_metric.items()):
            worst = max(found, key=lambda difference: difference.size)
            yield f"{metric}: {len(found)} differ, most in {worst}"
        if self.redefined:
            yield f"{self.redefined} with another fingerprint, which is no difference by itself"
        if self.cases and not self.differences:
            yield "nothing differs" if self.same else "no number differs"


def compare(before: Sequence[Record], after: Sequence[Record], *, tolerance: float = 0.0) -> Comparison:
    """Compare the records of two runs.

    Args:
        before, after: the records of the two runs.
        tolerance: largest difference between two measured numbers that counts as none, at least 0. Numbers of
            observations have to be equal.

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
            allowed = 0.0 if difference.part == "n" else tolerance
            if difference.before != difference.after and not _both_nan(difference) and difference.size > allowed:
                differences.append(difference)
    return Comparison(
        missing=[name for name in old if name not in new],
        new=[name for name in new if name not in old],
        changed=[line for name in both for line in _changes(name, old[name], new[name])],
        differences=sorted(differences, key=lambda difference: -difference.size),
        compared=compared,
        cases=len(both),
        redefined=sum(old[name].fingerprint != new[name].fingerprint for name in both),
    )


def _name(record: Record) -> str:
    return f"{record.scale} {record.case}"


def _numbers(name: str, old: Mapping[str, Estimate], new: Mapping[str, Estimate]) -> Iterator[NumberDifference]:
    for metric in sorted(old.keys() | new.keys()):
        before, after = old.get(metric), new.get(metric)
        for part, take in _PARTS.items():
            known = [None if estimate is None else take(estimate) for estimate in (before, after)]
            if known != [None, None]:
                yield NumberDifference(name, metric, part, *known)
        yield NumberDifference(
            name, metric, "n", *(None if estimate is None else estimate.n for estimate in (before, after))
        )
        if before is not None and after is not None and before.values and len(before.values) == len(after.values):
            yield _farthest(name, metric, before.values, after.values)


def _farthest(name: str, metric: str, before: Sequence[float], after: Sequence[float]) -> NumberDifference:
    """Return the largest of the differences between single seeds or trials, which may cancel out in the mean."""
    pairs = list(zip(before, after, strict=True))
    place = max(range(len(pairs)), key=lambda at: abs(pairs[at][1] - pairs[at][0]))
    return NumberDifference(name, metric, f"values[{place}]", *pairs[place])


def _both_nan(difference: NumberDifference) -> bool:
    known = (difference.before, difference.after)
    return all(number is not None and math.isnan(number) for number in known)


def _changes(name: str, old: Record, new: Record) -> Iterator[str]:
    if old.status is not new.status:
        yield f"{name}: status {old.status.value} -> {new.status.value}"
    if old.seeds != new.seeds:
        yield f"{name}: seeds {list(old.seeds)} -> {list(new.seeds)}"
    if old.confidence != new.confidence:
        yield f"{name}: confidence {old.confidence:g} -> {new.confidence:g}"
    if old.planned_looks != new.planned_looks:
        # Intervals that decide have a share of the chance of error each.
        yield f"{name}: looks at the verdicts, at most, {old.planned_looks} -> {new.planned_looks}"
    # A case whose rows were never loaded has none.
    rows = old.dataset_fingerprint, new.dataset_fingerprint
    if None not in rows and rows[0] != rows[1]:
        yield f"{name}: other rows, dataset_fingerprint {rows[0]} -> {rows[1]}"
    # Neither do records of schema 1 have a challenge.
    challenges = old.challenge, new.challenge
    if None not in challenges and challenges[0] != challenges[1]:
        told = f"{_short(old.challenge)} -> {_short(new.challenge)}"
        yield f"{name}: put up against other rows, another attack or another protocol, challenge {told}"
    if (old.expected_failure is None) != (new.expected_failure is None):
        yield f"{name}: expected failure {old.expected_failure!r} -> {new.expected_failure!r}"
    if old.status is new.status:
        yield from (f"{name}: {line}" for line in _judged(old.judgements, new.judgements))


def _judged(old: Sequence[Judgement], new: Sequence[Judgement]) -> Iterator[str]:
    """Yield a line for each threshold that only one side has, and for each that is judged differently."""
    before, after = (Counter(judgement.threshold for judgement in side) for side in (old, new))
    yield from (f"{threshold!r} is gone" for threshold in (before - after).elements())
    yield from (f"{threshold!r} is new" for threshold in (after - before).elements())
    judged = {judgement.threshold: judgement for judgement in old}
    for judgement in new:
        known = judged.get(judgement.threshold)
        if known is None:
            continue
        if known.verdict is not judgement.verdict:
            yield f"{judgement.threshold} {known.verdict.value} -> {judgement.verdict.value}"
        if known.met is not judgement.met:
            yield f"{judgement.threshold} met {known.met} -> {judgement.met}"


def _short(digest: str | None) -> str:
    return "none" if digest is None else digest[:12]


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"
