"""What became of the cases of an earlier run, for a page: the comparison of the gate, of the metric that each shows."""

from collections.abc import Collection, Sequence

from gradshape.metrics import Estimate
from gradshape_bench.gate.comparison import ComparedCase, Kind, compare
from gradshape_bench.gate.rules import DEFAULT_RULES, Rule
from gradshape_bench.gate.snapshot import Key, snapshot
from gradshape_bench.records.record import Record
from gradshape_bench.report.headline import HEADLINES, headline
from gradshape_bench.report.html import Change, Earlier

_GATED = {rule.metric: rule for rule in DEFAULT_RULES}
_RULES = [_GATED.get(shown.damage, Rule(shown.damage, absolute=0.0)) for shown in HEADLINES if shown.ranks]


def since(before: Sequence[Record], after: Sequence[Record], *, across_machines: bool = False) -> Earlier:
    """Compare the headline metrics of two runs as :func:`~gradshape_bench.gate.comparison.compare` does.

    Args:
        before, after: records of the earlier and the later run, one for each case.
        across_machines: whether numbers of different machines or versions of libraries are compared.
    """
    old, new = ({record.key: snapshot(record, _shown(record)) for record in records} for records in (before, after))
    found = compare(old, new, _RULES, across_machines=across_machines)
    changes = {(case.scale, case.case): _change(case, new, found.level) for case in found.cases}
    return Earlier(before, changes)


def _shown(record: Record) -> list[str]:
    names = headline(record)
    return [] if names is None or not names.ranks else [names.damage]


def _change(case: ComparedCase, new: Collection[Key], level: float) -> Change:
    if case.kind is Kind.MISSING and (case.scale, case.case) in new:
        # The gate does not tell a case that was skipped from one that was not run; a page shows its record.
        return Change(Kind.UNMEASURED.value, reason=case.reason or "")
    if case.kind is Kind.UNGATED and not case.changes:
        return Change(case.kind.value, reason="it shows nothing that is good or bad")
    if not case.changes:
        return Change(case.kind.value, reason=case.reason or "")
    [change] = case.changes
    difference = change.difference
    if difference is None:
        return Change(case.kind.value, reason="one of the values is missing, or no number to compare")
    low, high = difference.interval(level) or (None, None)
    reason = "the same numbers" if change.identical else difference.basis.value
    return Change(case.kind.value, Estimate(difference.effect, low, high, n=difference.n), reason)
