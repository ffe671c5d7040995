"""Series in a record: estimates for every epoch of a training."""

from collections.abc import Mapping

from gradshape.metrics import Estimate
from gradshape_bench.records.record import Record

PROTOCOL = "gradients"
Curve = tuple[Estimate | None, ...]


def has_series(record: Record) -> bool:
    """Return whether the record's protocol looks at every epoch."""
    return PROTOCOL in record.protocol.split("_")


def is_one_shot(record: Record) -> bool:
    """Return whether the training had a single target and a single poison row."""
    return has_series(record) and "_one_shot_" in f"_{record.protocol}_"


def series(record: Record, name: str) -> Curve:
    """Return mean and interval by epoch, ``None`` if unknown; empty if the record has no such series."""
    found = record.details.get("series")
    columns = found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(columns, Mapping):
        return ()
    parts = [part for part in map(columns.get, ("value", "low", "high")) if isinstance(part, list)]
    if len(parts) != 3 or len({len(part) for part in parts}) != 1:
        return ()
    curve = tuple(_estimate(value, low, high, len(record.seeds)) for value, low, high in zip(*parts, strict=True))
    return curve if any(curve) else ()


def epochs(curve: Curve) -> list[float]:
    """Return the places of a curve on the axis, from epoch 1."""
    return [float(epoch) for epoch in range(1, len(curve) + 1)]


def _estimate(value: object, low: object, high: object, n: int) -> Estimate | None:
    known = _number(value)
    return None if known is None else Estimate(known, _number(low), _number(high), n=n)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
