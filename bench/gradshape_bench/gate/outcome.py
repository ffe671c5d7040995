"""What a comparison says to a CI: fine, a regression, or nothing that could be relied on."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum

from gradshape_bench.gate.comparison import Change, Comparison, Kind
from gradshape_bench.gate.rules import Rule
from gradshape_bench.report.cells import count


class ExitStatus(IntEnum):
    """Exit status of a gate."""

    FINE = 0
    REGRESSION = 1
    UNUSABLE = 2


class Allowed(Enum):
    """What a change may do to a case of the earlier run on purpose; the value is how the command line spells it."""

    MISSING = "missing"
    NOT_COMPARABLE = "not-comparable"


_KINDS = {Allowed.MISSING: Kind.MISSING, Allowed.NOT_COMPARABLE: Kind.NOT_COMPARABLE}


@dataclass(frozen=True)
class Outcome:
    """Exit status of a gate and what led to it.

    Attributes:
        status: what it exits with.
        reasons: one sentence each; none if all is fine.
    """

    status: ExitStatus
    reasons: Sequence[str]


def outcome(
    comparison: Comparison,
    *,
    allowed: Collection[Allowed] = (),
    strict: bool = False,
    demanded: Collection[Rule] = (),
) -> Outcome:
    """Return what a comparison says to a CI.

    A regression is a case that got worse, one that was measured and now fails, crashes, diverges or runs out of time,
    or cases that together got worse though none can be named. It is unusable if nothing was compared, if a case that
    was measured is missing or was skipped, or can no longer be compared: it is never fine because something was not
    looked at. A regression weighs more.

    Args:
        comparison: what became of all cases.
        allowed: what is no fault.
        strict: whether undecided metrics whose point estimate is worse by more than its margin are a regression.
        demanded: rules that somebody gave: each has to have been applied to some case.
    """
    counts = comparison.counts
    regressions: list[str] = []
    if counts[Kind.WORSE]:
        regressions.append(f"{count(counts[Kind.WORSE], 'case')} got worse")
    if counts[Kind.BROKEN]:
        regressions.append(f"{count(counts[Kind.BROKEN], 'case')} could be measured before and cannot now")
    if comparison.broadly_worse:
        regressions.append(
            "the cases together got worse, although it is undecided which of them did: more seeds would tell"
        )
    changes = [change for _, change in comparison.compared]
    doubtful = sum(map(looks_worse_undecided, changes))
    if strict and doubtful:
        metrics = "1 undecided metric looks" if doubtful == 1 else f"{doubtful:,} undecided metrics look"
        regressions.append(f"{metrics} worse, and undecided ones count")
    unusable: list[str] = []
    if not changes:
        unusable.append(f"nothing could be compared: {_nothing(comparison)}")
    for kind, said in ((Kind.MISSING, "missing"), (Kind.NOT_COMPARABLE, "not comparable")):
        if counts[kind] and kind not in {_KINDS[one] for one in allowed}:
            unusable.append(f"{count(counts[kind], 'case')} of the earlier run: {said}")
    applied = {change.rule for change in changes}
    unusable += [f"{rule}: no case that was compared has this metric" for rule in demanded if rule not in applied]
    if regressions:
        return Outcome(ExitStatus.REGRESSION, [*regressions, *unusable])
    return Outcome(ExitStatus.UNUSABLE if unusable else ExitStatus.FINE, unusable)


def looks_worse_undecided(change: Change) -> bool:
    """Return whether a metric may be worse, but it might be chance."""
    return change.kind is Kind.UNDECIDED and change.looks_worse


def _nothing(comparison: Comparison) -> str:
    said = [f"{count(found, 'case')} {kind.value}" for kind, found in comparison.counts.items() if found]
    return ", ".join(said) or "there are no cases"
