"""Marks for published numbers in pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from gradshape_bench.records.record import Record
from gradshape_bench.report.counterparts import counterparts, stand_in

# Published numbers hold for the sizes of the paper, not for smaller experiments.
_SCALE = "paper"


@dataclass(frozen=True)
class PublishedMark:
    """A mark for a published number.

    Attributes:
        value: the number.
        relation: relation that a measurement should have to it: ``=``, or ``<`` or ``>`` for a bound.
        comparable: whether the number may be compared with a measurement.
    """

    value: float
    relation: str = "="
    comparable: bool = True

    @property
    def words(self) -> str:
        """The description in the legend."""
        kind = {"<": "published upper bound", ">": "published lower bound"}.get(self.relation, "published")
        return kind if self.comparable else f"{kind}, not comparable"


def published_marks(record: Record, metric: str) -> Sequence[PublishedMark]:
    """Return the marks of published numbers that ``record`` measures as ``metric``."""
    return _marks(record.case, metric) if record.scale == _SCALE else ()


@cache
def _marks(case: str, metric: str) -> tuple[PublishedMark, ...]:
    found: dict[PublishedMark, None] = {}
    for row, how in counterparts():
        # A number over all intensities repeats that of the highest intensity, rounded.
        if how.metric != metric or how.by_definition is not None or row.intensity == "overall":
            continue
        if any(asked.rank(case) is not None for asked in how.cases):
            comparable = not how.caveat and stand_in(row, case) is None
            found[PublishedMark(row.value, how.relation, comparable)] = None
    return tuple(found)
