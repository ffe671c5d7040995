"""What a JUnit file says of a case: its metrics and verdicts, as properties of its test."""

from collections.abc import Iterator

from gradshape.metrics import Estimate
from gradshape_bench.plain_text import plain
from gradshape_bench.records.record import Record
from gradshape_bench.report.headline import cost, damage, headline, total

_PREFIX = "gradshape"


def properties(record: Record) -> list[tuple[str, str]]:
    """Return names and values, in an order of their own: what was measured, its thresholds, and on what.

    Every metric that a report shows in front or a threshold names has a value, and the ends of its interval if it has
    one: ``gradshape.rad``, ``gradshape.rad.low``, ``gradshape.rad.high``.
    """
    return [(f"{_PREFIX}.{name}", plain(value)) for name, value in _described(record)]


def _described(record: Record) -> Iterator[tuple[str, str]]:
    yield "case", record.case
    yield "scale", record.scale
    yield "status", record.status.value
    yield "seeds", " ".join(map(str, record.seeds))
    if record.reason is not None:
        yield "reason", record.reason
    if record.verdict is not None:
        yield "verdict", record.verdict.value
    for number, judgement in enumerate(record.judgements, start=1):
        met = "met" if judgement.met else "missed"
        reason = "" if judgement.reason is None else f": {judgement.reason}"
        yield f"threshold.{number}", f"{judgement.threshold}: {judgement.verdict.value}, {met}{reason}"
    for name, estimate in _shown(record).items():
        yield name, f"{estimate.value:.6g}"
        for end, bound in (("low", estimate.low), ("high", estimate.high)):
            if bound is not None:
                yield f"{name}.{end}", f"{bound:.6g}"


def _shown(record: Record) -> dict[str, Estimate]:
    names = headline(record)
    shown: dict[str, Estimate] = {}
    if names is not None:
        found = {names.damage: damage(record), names.total: total(record), names.cost: cost(record)}
        shown = {name: estimate for name, estimate in found.items() if name is not None and estimate is not None}
    named = {judgement.threshold.metric: record.metrics[judgement.threshold.metric] for judgement in record.judgements}
    return shown | named
