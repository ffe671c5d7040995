"""Comparing two runs case by case: which are worse, better, the same or undecided, and which cannot be compared."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from enum import Enum
from functools import cached_property

from gradshape_bench.gate.differences import Difference
from gradshape_bench.gate.likeness import elsewhere, unlike
from gradshape_bench.gate.multiplicity import hommel, simes
from gradshape_bench.gate.pairing import worsening
from gradshape_bench.gate.rules import Rule
from gradshape_bench.gate.snapshot import Key, Sample, Snapshot
from gradshape_bench.records.record import Status

_ROUNDING = 1e-12
# The largest value whose fourth power a float holds, and some to spare.
_LARGEST = 1e60


class Kind(Enum):
    """What became of a case or a metric, worst first; the value is what a reader is told."""

    WORSE = "worse"
    BROKEN = "broken"
    MISSING = "missing"
    NOT_COMPARABLE = "not comparable"
    UNDECIDED = "undecided"
    BETTER = "better"
    SAME = "same"
    NEW = "new"
    UNMEASURED = "unmeasured"
    UNGATED = "not gated"


_SEVERITY = {kind: place for place, kind in enumerate(Kind)}


@dataclass(frozen=True)
class Change:
    """What became of one metric of one case.

    Attributes:
        rule: the rule that the metric is looked at for.
        before, after: the point estimates; ``after`` is ``None`` if it is no longer measured.
        kind: what became of it.
        difference: of how much it got worse: positive is worse, whatever the metric. ``None`` if there is none.
        margin: by more than how much it has to get worse, or better, to count.
        identical: whether the same seeds gave the same values to the last digit.
    """

    rule: Rule
    before: float
    after: float | None
    kind: Kind
    _: KW_ONLY
    difference: Difference | None = None
    margin: float = 0.0
    identical: bool = False

    @property
    def looks_worse(self) -> bool:
        """Whether the point estimate is worse by more than the margin."""
        return self.difference is not None and self.difference.effect > self.margin + _ROUNDING

    @property
    def looks_better(self) -> bool:
        """Whether the point estimate is better by more than the margin."""
        return self.difference is not None and -self.difference.effect > self.margin + _ROUNDING

    @property
    def size(self) -> float:
        """By how many margins it got worse."""
        if self.difference is None:
            return 0.0
        return self.difference.effect / max(self.margin, _ROUNDING)


@dataclass(frozen=True)
class ComparedCase:
    """What became of a case.

    Attributes:
        scale, case: what identifies it.
        kind: what became of it: the worst of its metrics.
        reason: why it is broken, missing, not comparable or unmeasured; ``None`` if it is not.
        changes: one for each metric that was looked at.
    """

    scale: str
    case: str
    kind: Kind
    reason: str | None = None
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """What became of all cases of two runs.

    Attributes:
        cases: sorted by scale and id.
        rules: what was looked at.
        confidence: that all that is called worse or better is so, in (0, 1).
        level: the confidence of each single interval, which makes that of all together.
        tested: how many metrics of cases are not identical, which all intervals together allow for.
        broadly_worse: whether the changes together show that some metric of some case got worse by more than its
            margin, although it cannot be said which.
    """

    cases: Sequence[ComparedCase]
    rules: Sequence[Rule]
    _: KW_ONLY
    confidence: float
    level: float
    tested: int
    broadly_worse: bool

    @cached_property
    def counts(self) -> Mapping[Kind, int]:
        """How many cases are of each kind."""
        return Counter(case.kind for case in self.cases)

    @property
    def compared(self) -> Iterator[tuple[ComparedCase, Change]]:
        """The metrics that were compared, with their cases."""
        return ((case, change) for case in self.cases for change in case.changes if change.difference is not None)

    def interval(self, change: Change) -> tuple[float, float] | None:
        """Return the interval of how much a metric got worse, by the confidence that decides."""
        return None if change.difference is None else change.difference.interval(self.level)


def compare(
    base: Mapping[Key, Snapshot],
    new: Mapping[Key, Snapshot],
    rules: Sequence[Rule],
    *,
    confidence: float = 0.95,
    across_machines: bool = False,
) -> Comparison:
    """Compare the cases of two runs, seed by seed where they have seeds in common.

    A metric is worse if it got worse by more than its rule allows and by more than one row of the test set makes, and
    the interval excludes that nothing changed; better likewise. It is the same if its own interval lies within these
    margins, or if the same seeds gave the same values to the last digit. All else is undecided. The intervals by which
    metrics are called worse or better allow for how many there are (Hommel's procedure): the chance that a comparison
    of two runs that differ in nothing but their seeds calls any of them worse or better is at most ``1 - confidence``.

    Args:
        base, new: the cases of the earlier and the later run.
        rules: one for each metric that is looked at.
        confidence: in (0, 1).
        across_machines: whether numbers of different machines or versions of libraries are compared.
    """
    found = [_pair(base.get(key), new.get(key), rules, across_machines) for key in sorted(base.keys() | new.keys())]
    tested = [
        (change, change.difference)
        for case in found
        for change in case.changes
        if change.difference is not None and not change.identical
    ]
    error = hommel([difference.chance for _, difference in tested], 1 - confidence)
    beyond = [difference.chance_above(change.margin) if change.looks_worse else 1.0 for change, difference in tested]
    broad = simes(beyond, (1 - confidence) / 2)
    cases = [_judged(case, confidence, error) for case in found]
    worse = any(case.kind is Kind.WORSE for case in cases)
    return Comparison(
        cases,
        rules,
        confidence=confidence,
        level=1 - error,
        tested=len(tested),
        broadly_worse=broad and not worse,
    )


def _pair(old: Snapshot | None, new: Snapshot | None, rules: Sequence[Rule], across_machines: bool) -> ComparedCase:
    either = new or old
    assert either is not None
    named = ComparedCase(either.scale, either.case, Kind.SAME)
    if old is None or old.status is not Status.OK:
        if new is not None and new.status is Status.OK:
            return replace(named, kind=Kind.NEW)
        return replace(named, kind=Kind.UNMEASURED, reason=_why(new or either))
    if new is None:
        return replace(named, kind=Kind.MISSING, reason="it was not run")
    if new.status is not Status.OK:
        kind = Kind.MISSING if new.status is Status.SKIPPED else Kind.BROKEN
        return replace(named, kind=kind, reason=_why(new))
    reason = unlike(old, new) or (None if across_machines else elsewhere(old, new))
    if reason is not None:
        return replace(named, kind=Kind.NOT_COMPARABLE, reason=reason)
    changes = tuple(
        _change(rule, old, new, old.samples[rule.metric], new.samples.get(rule.metric))
        for rule in rules
        if rule.metric in old.samples
    )
    return replace(named, kind=Kind.SAME if changes else Kind.UNGATED, changes=changes)


def _why(snapshot: Snapshot) -> str:
    return f"{snapshot.status.value}: {snapshot.reason or 'no reason recorded'}"


def _change(rule: Rule, old: Snapshot, new: Snapshot, before: Sample, after: Sample | None) -> Change:
    if after is None or before.n == 0 or after.n == 0:
        lost = after is None or after.n == 0
        # A rate over no targets says nothing, and never did.
        kind = Kind.NOT_COMPARABLE if lost and before.n else Kind.UNGATED
        return Change(rule, before.value, None if after is None else after.value, kind)
    if max(map(abs, (before.value, after.value, *before.values, *after.values))) > _LARGEST:
        return Change(rule, before.value, after.value, Kind.NOT_COMPARABLE)
    difference = worsening(rule, old, new, before, after)
    step = max(before.step or 0.0, after.step or 0.0)
    identical = old.seeds == new.seeds and old.trials == new.trials and before.values == after.values != ()
    return Change(
        rule,
        before.value,
        after.value,
        Kind.UNDECIDED,
        difference=difference,
        margin=max(rule.margin(before.value), step),
        identical=identical,
    )


def _judged(case: ComparedCase, confidence: float, error: float) -> ComparedCase:
    if not case.changes:
        return case
    changes = tuple(_decided(change, confidence, error) for change in case.changes)
    return replace(case, changes=changes, kind=min((change.kind for change in changes), key=_SEVERITY.__getitem__))


def _decided(change: Change, confidence: float, error: float) -> Change:
    difference = change.difference
    if difference is None:
        return change
    kind = _kind(change, difference, confidence, error)
    return change if kind is change.kind else replace(change, kind=kind)


def _kind(change: Change, difference: Difference, confidence: float, error: float) -> Kind:
    if change.identical:
        return Kind.SAME
    if change.looks_worse or change.looks_better:
        if difference.chance > error:
            return Kind.UNDECIDED
        return Kind.WORSE if change.looks_worse else Kind.BETTER
    own = difference.interval(confidence)
    if own is not None and -change.margin <= own[0] and own[1] <= change.margin:
        return Kind.SAME
    return Kind.UNDECIDED
