"""What the paper states, where it belongs in a picture."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from bench.ledger import Reading, reading
from bench.published import published
from bench.record import Record

# Its numbers are of the sizes of the paper, and say nothing of a smaller experiment.
_SCALE = "paper"


@dataclass(frozen=True)
class Mark:
    """A published number.

    Attributes:
        value: the number.
        relation: how a measurement should stand to it: ``=``, or ``<`` or ``>`` of a bound.
        comparable: whether the paper's own analysis lets it be compared.
    """

    value: float
    relation: str = "="
    comparable: bool = True

    @property
    def words(self) -> str:
        """What it is, for a legend."""
        kind = {"<": "published upper bound", ">": "published lower bound"}.get(self.relation, "published")
        return kind if self.comparable else f"{kind}, not comparable"


def marks(record: Record, metric: str) -> Sequence[Mark]:
    """The published numbers that ``record`` measures as ``metric``."""
    return _marks().get((record.case, metric), ()) if record.scale == _SCALE else ()


@cache
def _marks() -> Mapping[tuple[str, str], tuple[Mark, ...]]:
    found: defaultdict[tuple[str, str], dict[Mark, None]] = defaultdict(dict)
    for row in published():
        how = reading(row)
        # A number over all intensities repeats that of the highest one, rounded.
        if isinstance(how, Reading) and row.intensity != "overall":
            for case in how.cases:
                found[case, how.metric][Mark(row.value, how.relation, not how.caveat)] = None
    return {key: tuple(values) for key, values in found.items()}
