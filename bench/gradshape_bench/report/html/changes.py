"""What the page is told of an earlier run: its records, and what became of each case since."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gradshape.metrics import Estimate
from gradshape_bench.records.record import Record

# A case that the earlier run alone has.
MISSING = "missing"


@dataclass(frozen=True)
class Change:
    """What became of the headline metric of a case.

    Attributes:
        kind: what became of it, as the page spells it.
        difference: the later value less the earlier one, with its interval; ``None`` if there is no such number.
        reason: how it was found, or why nothing can be said.
    """

    kind: str
    difference: Estimate | None = None
    reason: str = ""


@dataclass(frozen=True)
class Earlier:
    """An earlier run.

    Attributes:
        records: one record for each case.
        changes: what became of every case of either run, by scale and id.
    """

    records: Sequence[Record]
    changes: Mapping[tuple[str, str], Change]
