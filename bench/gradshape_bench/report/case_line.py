"""Cases in one line each, for terminals and for tools that go through lines."""

from collections.abc import Sequence

from gradshape_bench.records.record import Record, Status
from gradshape_bench.report import cells
from gradshape_bench.report.headline import damage, headline
from gradshape_bench.report.markdown import one_line
from gradshape_bench.report.terminal import aligned


def case_lines(records: Sequence[Record]) -> list[str]:
    """Return a line a record, in their order: scale, outcome, headline metric with value and interval, and the id."""
    if not records:
        return []
    return aligned([(record.scale, outcome(record), *_measured(record), one_line(record.case)) for record in records])


def outcome(record: Record) -> str:
    """Return how a case came out, in a word or two: its worst verdict, or its status if it was not measured.

    A verdict that is inconclusive says which side the value is on, as that decides whether the test passes.
    """
    if record.status is not Status.OK:
        return str(record.status.value)
    if record.verdict is None:
        return "-"
    word = record.verdict.value
    if word == "INCONCLUSIVE":
        word += " missed" if record.missed else " met"
    return f"{word} (expected)" if record.missed and record.expected_failure is not None else word


def _measured(record: Record) -> tuple[str, str, str]:
    names, estimate = headline(record), damage(record)
    if names is None or estimate is None:
        return "-", "-", ""
    if estimate.n == 0:
        return names.damage, cells.NO_TARGET, ""
    return names.damage, cells.number(estimate.value), cells.interval(estimate)
