"""Cells of the tables on a page: numbers and verdicts."""

from collections.abc import Mapping
from dataclasses import replace

from gradshape.metrics import Estimate
from gradshape_bench.records.record import Record, Status
from gradshape_bench.report import headline
from gradshape_bench.verdict import Verdict

# Shown in place of a success rate if there was no target to attack.
NO_TARGET = "no target"


def number(value: float, places: int = 3) -> str:
    """Format ``value`` with a fixed number of decimals and without a negative zero.

    >>> number(-0.0001)
    '0.000'
    """
    return f"{value:z.{places}f}"


def estimate(estimate: Estimate | None, places: int = 3) -> str:
    """Format value and interval; empty without an estimate."""
    return f"{number(estimate.value, places)} {interval(estimate, places)}".rstrip() if estimate else ""


def interval(estimate: Estimate, places: int = 3) -> str:
    """Format the interval alone; empty if it is unknown."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{number(estimate.low, places)}, {number(estimate.high, places)}]"


def share(estimate: Estimate | None) -> str:
    """Format a rate as a count out of all; empty without an estimate.

    >>> share(Estimate(0.25, 0.1, 0.5, n=8))
    '2 of 8'
    """
    return "" if estimate is None else f"{round(estimate.value * estimate.n):,} of {estimate.n:,}"


def damage(record: Record, *, bold: bool) -> str:
    """Format the damage of an attack, with the mark of its verdict."""
    names = headline.headline(record)
    found = headline.damage(record)
    if names is None or found is None or found.n == 0:
        text = state(record) if found is None else NO_TARGET
    else:
        text = estimate(found, names.places)
    sign = mark(record)
    return f"**{text}**{sign and f' {sign}'}" if bold else f"{text}{sign and f' {sign}'}"


def judged(record: Record, metric: str) -> str:
    """Format a metric, with the mark of the verdict on the record's thresholds on that metric alone."""
    found = record.metrics.get(metric)
    text = state(record) if found is None else estimate(found)
    own = replace(record, judgements=tuple(one for one in record.judgements if one.threshold.metric == metric))
    if record.missed and not own.missed:
        # Another threshold is the one that was expected to be missed.
        own = replace(own, expected_failure=None)
    sign = mark(own)
    return f"{text}{sign and f' {sign}'}"


# The sign of a clean model that does not work.
RUINED = "!"


def state(record: Record) -> str:
    """Say why there is no value."""
    return record.status.value if record.status is not Status.OK else "no value"


def mark(record: Record) -> str:
    """Return the sign of the record's verdict; empty without one."""
    if record.verdict is None:
        return ""
    sign = "✗" if record.missed else "✓"
    ruined = any(judgement.reason is not None for judgement in record.judgements)
    left_open = record.verdict is Verdict.INCONCLUSIVE
    return sign + ("?" if left_open else "") + (RUINED if ruined else "") + ("†" if record.expected_failure else "")


def by_seed(values: object) -> str:
    """Format the values of the seeds, once if they are all the same."""
    if isinstance(values, list | tuple) and len(values) > 1 and all(value == values[0] for value in values):
        return f"{plain(values[0])} with every seed"
    return plain(values)


def plain(value: object) -> str:
    """Format a plain value for a reader."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {plain(value[name])}" for name in sorted(value)) or "none"
    return "none" if value is None else str(value)


def count(count: int, noun: str) -> str:
    """Format a number of things, with the plural of ``noun`` where it is needed."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
