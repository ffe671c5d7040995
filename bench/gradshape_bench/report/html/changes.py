"""What became of a case between two results files."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from gradshape.metrics import Estimate, Method, mean_over_seeds
from gradshape_bench.records.record import Record, Status
from gradshape_bench.report.headline import headline


class Kind(Enum):
    """How the headline metric of a case changed; the value is how the page spells it."""

    WORSE = "worse"
    BETTER = "better"
    UNDECIDED = "undecided"
    SAME = "same"
    DIFFERS = "differs"
    INCOMPARABLE = "not comparable"
    NEW = "new"
    MISSING = "missing"


@dataclass(frozen=True)
class Change:
    """A change of a case.

    Attributes:
        kind: what it is.
        difference: the later value less the earlier one, with its interval; ``None`` if there is no such number.
        reason: how it was found, or why nothing can be said.
    """

    kind: Kind
    difference: Estimate | None
    reason: str


def change(before: Record | None, after: Record | None) -> Change:
    """Return what became of the headline metric of a case; at least one of the two records is given.

    Like is compared with like only: the same rows, attack, protocol and scale. Where the values of single seeds are
    known, those of the same seeds are paired; else the intervals of the two runs have to lie apart. The intervals are
    of the confidence that the records state, for each case by itself: of many cases that did not change, a share
    looks changed.
    """
    if before is None or after is None:
        return Change(Kind.NEW, None, "") if before is None else Change(Kind.MISSING, None, "")
    names, problem = headline(after), _problem(before, after)
    if names is None or problem is not None:
        return Change(Kind.INCOMPARABLE, None, problem or "it measures nothing that is shown")
    old, new = before.metrics[names.damage], after.metrics[names.damage]
    pairs = _pairs(before, after, names.damage)
    if len(pairs) > 1:
        difference = mean_over_seeds([b - a for a, b in pairs], confidence=after.confidence)
        how = f"paired over {len(pairs)} seeds"
    else:
        difference, how = _apart(old, new), "by the intervals of both runs"
    if (old.value, old.low, old.high, old.n) == (new.value, new.low, new.high, new.n):
        return Change(Kind.SAME, difference, "the same numbers")
    if not names.ranks:
        return Change(Kind.DIFFERS, difference, f"{names.damage} describes a training and is neither good nor bad")
    if difference.low is None or difference.high is None:
        return Change(Kind.UNDECIDED, difference, "there is no interval")
    if difference.low > 0:
        return Change(Kind.WORSE, difference, how)
    return Change(Kind.BETTER if difference.high < 0 else Kind.UNDECIDED, difference, how)


def _problem(before: Record, after: Record) -> str | None:
    """Return why the two cannot be compared."""
    for record, when in ((before, "before"), (after, "now")):
        if record.status is not Status.OK:
            return f"{record.status.value} {when}"
    old, new = headline(before), headline(after)
    if old is None or new is None or old.damage != new.damage:
        return "they measure different things"
    rows = before.dataset_fingerprint, after.dataset_fingerprint
    if None not in rows and rows[0] != rows[1]:
        return "other rows: the data set's fingerprint changed"
    challenges = before.challenge, after.challenge
    if None not in challenges and challenges[0] != challenges[1]:
        return "another challenge: rows, attack or protocol changed"
    if not (before.metrics[old.damage].n and after.metrics[new.damage].n):
        return "there was no target to attack"
    return None


def _pairs(before: Record, after: Record, metric: str) -> Sequence[tuple[float, float]]:
    """Return the values of the seeds that both have; none where values are of trials, or not known."""
    old, new = (_by_seed(record, metric) for record in (before, after))
    return [(old[seed], new[seed]) for seed in old if seed in new]


def _by_seed(record: Record, metric: str) -> dict[int, float]:
    estimate = record.metrics[metric]
    if estimate.method is Method.WILSON or len(estimate.values) != len(record.seeds):
        return {}
    return dict(zip(record.seeds, estimate.values, strict=True))


def _apart(old: Estimate, new: Estimate) -> Estimate:
    """Return the difference of two independent estimates, with the root of the summed squares of their half-widths."""
    value, n = new.value - old.value, min(old.n, new.n)
    if old.low is None or old.high is None or new.low is None or new.high is None:
        return Estimate(value, None, None, n=n)
    below = math.hypot(new.value - new.low, old.high - old.value)
    above = math.hypot(new.high - new.value, old.value - old.low)
    return Estimate(value, value - below, value + above, n=n)
