"""Records whose numbers fit on axes."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from gradshape_bench.records.record import Record

# Axes need squares and multiples of what they show, which do not fit into a float if it is much larger.
LARGEST = 1e100


def drawable(records: Sequence[Record], tell: Callable[[str], None]) -> list[Record]:
    """Return the records that can be drawn, and tell of each other one its case and the number that cannot."""
    kept = []
    for record in records:
        found = next(_too_large(record), None)
        if found is None:
            kept.append(record)
        else:
            name, number = found
            tell(f"left out of the pictures: {record.case} ({record.scale}), whose {name} is {number:.3g}")
    return kept


def _too_large(record: Record) -> Iterator[tuple[str, float]]:
    for name, estimate in record.metrics.items():
        for part in (estimate.value, estimate.low, estimate.high):
            yield from _in(name, part)
    for name, value in record.details.items():
        yield from _in(name, value)


def _in(name: str, value: object) -> Iterator[tuple[str, float]]:
    if isinstance(value, int | float):
        if LARGEST < abs(value) < float("inf"):
            yield name, float(value)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _in(f"{name}.{key}", part)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for part in value:
            yield from _in(name, part)
