"""The verdict of a gate as Markdown that fits a pull request: counts, the worst changes, and what was not compared."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from gradshape_bench.gate.comparison import Change, ComparedCase, Comparison, Kind
from gradshape_bench.gate.differences import Basis
from gradshape_bench.gate.outcome import ExitStatus, Outcome, looks_worse_undecided
from gradshape_bench.report import markdown
from gradshape_bench.report.cells import count, number

# Rows of the table, and names in a list, at most.
_ROWS = 25
_NAMED = 3
_TITLES = {
    ExitStatus.FINE: "No regression",
    ExitStatus.REGRESSION: "Regression",
    ExitStatus.UNUSABLE: "Nothing to rely on",
}
_SIGNS = {Kind.WORSE: "✗ worse", Kind.BETTER: "✓ better", Kind.UNDECIDED: "? undecided", Kind.SAME: "same"}
_LISTED = (Kind.BROKEN, Kind.MISSING, Kind.NOT_COMPARABLE, Kind.UNMEASURED)
_HEADERS = ("", "case", "metric", "before", "now", "worse by", "interval", "compared")


def render(comparison: Comparison, outcome: Outcome) -> str:
    """Return the verdict as Markdown: one line if nothing changed, and otherwise a table, the worst changes first.

    The same comparison gives the same bytes.
    """
    doubtful = any(looks_worse_undecided(change) for _, change in comparison.compared)
    title = "Nothing is shown to be worse, and something looks so" if doubtful else _TITLES[ExitStatus.FINE]
    title = title if outcome.status is ExitStatus.FINE else _TITLES[outcome.status]
    blocks = [f"**{title}**: {_counts(comparison)}."]
    if outcome.reasons:
        blocks.append(markdown.bullets(markdown.escape(reason) for reason in outcome.reasons))
    rows = [
        (case, change)
        for case, change in comparison.compared
        if change.kind in (Kind.WORSE, Kind.BETTER) or looks_worse_undecided(change)
    ]
    if rows:
        rows.sort(key=lambda row: (_place(row[1]), -row[1].size, row[0].scale, row[0].case, row[1].rule.metric))
        blocks.append(markdown.table([_row(comparison, *row) for row in rows[:_ROWS]], _HEADERS))
        if len(rows) > _ROWS:
            blocks.append(f"... and {len(rows) - _ROWS:,} more.")
    listed = _lists(comparison.cases)
    if listed:
        blocks.append(markdown.bullets(listed))
    if rows or comparison.broadly_worse or comparison.counts[Kind.UNDECIDED]:
        blocks.append(_method(comparison))
    return "\n\n".join(blocks) + "\n"


def _counts(comparison: Comparison) -> str:
    found = comparison.counts
    identical = sum(
        case.kind is Kind.SAME and all(change.identical for change in case.changes) for case in comparison.cases
    )
    # What is undecided of a case goes before what is better of it, and the table has that alone.
    partly = sum(
        case.kind is Kind.UNDECIDED and any(change.kind is Kind.BETTER for change in case.changes)
        for case in comparison.cases
    )
    remarks = {
        Kind.SAME: f" ({identical:,} to the last digit)" if identical else "",
        Kind.UNDECIDED: f" ({partly:,} with a metric that is better)" if partly else "",
    }
    parts = [f"{found[kind]:,} {kind.value}{remarks.get(kind, '')}" for kind in Kind if found[kind]]
    return f"{count(len(comparison.cases), 'case')}: {', '.join(parts)}" if parts else "no cases"


def _place(change: Change) -> int:
    return (Kind.WORSE, Kind.UNDECIDED, Kind.BETTER).index(change.kind)


def _row(comparison: Comparison, case: ComparedCase, change: Change) -> list[str]:
    difference, interval = change.difference, comparison.interval(change)
    assert difference is not None
    name = case.case if _one_scale(comparison.cases) else f"{case.scale} {case.case}"
    return [
        _SIGNS[change.kind],
        markdown.escape(name),
        markdown.escape(change.rule.metric),
        number(change.before),
        "" if change.after is None else number(change.after),
        signed(difference.effect),
        "" if interval is None else f"[{signed(interval[0])}, {signed(interval[1])}]",
        f"{difference.basis.value} ({difference.n})",
    ]


def signed(value: float) -> str:
    """Format a change with its sign.

    >>> signed(0.0312), signed(-0.0001)
    ('+0.031', '+0.000')
    """
    return f"{value:+z.3f}"


def _one_scale(cases: Iterable[ComparedCase]) -> bool:
    return len({case.scale for case in cases}) == 1


def _lists(cases: Iterable[ComparedCase]) -> list[str]:
    """Return one line for each reason why cases were not compared, with the first of them."""
    reasons: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    for case in cases:
        if case.kind in _LISTED:
            reasons[_LISTED.index(case.kind), case.reason or _lost(case)].append(case.case)
    return [
        f"{_LISTED[place].value}: {markdown.escape(reason)}: {_some(names)}"
        for (place, reason), names in sorted(reasons.items())
    ]


def _lost(case: ComparedCase) -> str:
    lost = [change.rule.metric for change in case.changes if change.kind is Kind.NOT_COMPARABLE]
    return f"{', '.join(lost)} no longer measured, or too large a number"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(markdown.code, names[:_NAMED]))
    return f"{shown} and {len(names) - _NAMED:,} more" if len(names) > _NAMED else shown


def _method(comparison: Comparison) -> str:
    applied = {change.rule for _, change in comparison.compared}
    rules = ", ".join(markdown.code(rule) for rule in comparison.rules if rule in applied)
    used = {change.difference.basis for _, change in comparison.compared if change.difference is not None}
    methods = "; ".join(f"*{basis.value}*: {basis.words}" for basis in Basis if basis in used)
    return (
        f"What counts: {rules}, and more than one row of the test set. All calls of *worse* and *better* hold together "
        f"with {100 * comparison.confidence:g} % confidence (Hommel's procedure over "
        f"{count(comparison.tested, 'changed metric')}), so that each interval has {100 * comparison.level:.5g} %. "
        f"Undecided are changes that may be chance and may be none, which more seeds would tell. {methods}."
    )
