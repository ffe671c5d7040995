"""The summary in the terminal at the end of a run: a small table and a line of counts, in plain text."""

import textwrap
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import chain

from gradshape.metrics import Estimate
from gradshape_bench.plain_text import plain
from gradshape_bench.records.record import MISSING_DATA, Record, Status
from gradshape_bench.report import tradeoff
from gradshape_bench.report.cells import number
from gradshape_bench.report.grouping import RecordGroup
from gradshape_bench.report.headline import damage, headline, total
from gradshape_bench.report.markdown import one_line
from gradshape_bench.report.ordering import case_order
from gradshape_bench.verdict import Verdict

WIDTH = 100
ROWS = 15
REASONS = 10

_HEADERS = ("data set, model", "attack", "vanilla", "best defence", "RAD", "vs vanilla", "pass/fail/?")
_LEFT = ("data set, model", "attack", "best defence")


def summarize(records: Sequence[Record]) -> list[str]:
    """Return lines on the cases of one run, at most :data:`WIDTH` wide; none without records.

    The columns ``vanilla`` and ``RAD`` show the RAD without a defence and with the best one; ``vs vanilla`` is
    ``rad_vs_vanilla``, by which the best defence is chosen. If another metric stands for RAD, its name stands beside
    the model. ``?`` counts inconclusive verdicts. Cases without an attack are only counted.
    """
    if not records:
        return []
    rows = _rows(records)
    lines = _table(rows[:ROWS]) if rows else []
    if len(rows) > ROWS:
        lines.append(f"... and {len(rows) - ROWS} more rows in the leaderboard")
    return [*lines, *textwrap.wrap(tally(records), WIDTH, subsequent_indent="  ")]


def tally(records: Sequence[Record]) -> str:
    """Count how the cases came out, each once; inconclusive verdicts are counted again, at the end.

    >>> tally([])
    '0 cases'
    """
    counts = Counter(_outcome(record) for record in records)
    no_data = sum(
        record.status is Status.SKIPPED and (record.reason or "").startswith(MISSING_DATA) for record in records
    )
    parts = [
        f"{counts[outcome]} {outcome if counts[outcome] == 1 else plural}"
        + (f" ({no_data} for missing data)" if outcome == "skipped" and no_data else "")
        for outcome, plural in _OUTCOMES.items()
        if counts[outcome]
    ]
    inconclusive = sum(record.verdict is Verdict.INCONCLUSIVE for record in records)
    total = f"{len(records)} case{'' if len(records) == 1 else 's'}"
    line = f"{total}: {', '.join(parts)}" if parts else total
    return f"{line}; {inconclusive} inconclusive" if inconclusive else line


def failures(records: Sequence[Record]) -> list[str]:
    """Return lines that name the reasons why cases failed, crashed and the like, each once with its first case."""
    reasons: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for record in records:
        if record.status not in (Status.OK, Status.SKIPPED):
            reasons[record.status.value, record.reason or "no reason recorded"].append(record.case)
    lines: list[str] = []
    for (status, reason), cases in list(reasons.items())[:REASONS]:
        more = f", and {len(cases) - 1} more" if len(cases) > 1 else ""
        where = f" ({one_line(cases[0])}{more})"
        lines += textwrap.wrap(f"{status}: {plain(one_line(reason), longest=2 * WIDTH)}{where}", WIDTH)
    if len(reasons) > REASONS:
        lines.append(f"... and {len(reasons) - REASONS} more reasons in the results file")
    return lines


_OUTCOMES = {
    "passed": "passed",
    "missed thresholds": "missed thresholds",
    "expected failure": "expected failures",
    "unexpected pass": "unexpected passes",
    "skipped": "skipped",
    "failed": "failed",
    "crashed": "crashed",
    "diverged": "diverged",
    "timeout": "timeouts",
}


def _outcome(record: Record) -> str:
    if record.status is not Status.OK:
        return str(record.status.value)
    if record.expected_failure is not None:
        return "expected failure" if record.missed else "unexpected pass"
    return "missed thresholds" if record.missed else "passed"


def _rows(records: Sequence[Record]) -> list[list[str]]:
    groups: defaultdict[tuple[str, str, str, str, str], list[Record]] = defaultdict(list)
    for record in sorted(records, key=case_order):
        if record.status is Status.OK and not tradeoff.concerns(record):
            groups[record.scale, record.dataset, record.model, record.protocol, record.attack].append(record)
    # What all records share is not shown.
    varying = [
        name for name in ("protocol", "scale") if len({getattr(group[0], name) for group in groups.values()}) > 1
    ]
    sections = {
        (s.scale, s.dataset, s.model, s.protocol): s for s in RecordGroup.of(chain.from_iterable(groups.values()))
    }
    return [
        _row(group, ("dataset", "model", *varying), sections[key[:4]].best(key[4])) for key, group in groups.items()
    ]


def _row(group: Sequence[Record], names: Sequence[str], best: Record | None) -> list[str]:
    vanilla = next((record for record in group if record.defense == "vanilla"), None)
    verdicts = Counter(record.verdict for record in group)
    first = group[0]
    shown = headline(first)
    metric = f" ({shown.damage})" if shown is not None and shown.damage != "rad" else ""
    return [
        one_line(", ".join(getattr(first, name) for name in names) + metric),
        one_line(first.attack),
        _value(damage(vanilla) if vanilla else None),
        one_line(best.defense) if best else "-",
        _value(damage(best) if best else None),
        _value(total(best) if best else None),
        "/".join(str(verdicts[verdict]) for verdict in (Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE)),
    ]


def _value(estimate: Estimate | None) -> str:
    return number(estimate.value) if estimate and estimate.n else "-"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of the table, with its longest labels cut until it fits."""
    limit = max(len(cell) for row in rows for cell in row)
    while True:
        cut = [[cell if len(cell) <= limit else f"{cell[: limit - 3]}..." for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(_HEADERS, *cut, strict=True)]
        if sum(widths) + 2 * (len(widths) - 1) <= WIDTH:
            break
        limit -= 1
    return [_line(row, widths) for row in (_HEADERS, ["-" * width for width in widths], *cut)]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = zip(_HEADERS, row, widths, strict=True)
    return "  ".join(f"{cell:{'<' if name in _LEFT else '>'}{width}}" for name, cell, width in cells)
