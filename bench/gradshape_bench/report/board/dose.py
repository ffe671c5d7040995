"""The dose of an attack: the smallest number of poison rows whose effect lies beyond the threshold, of those run."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from gradshape_bench.records.record import Record
from gradshape_bench.report import headline
from gradshape_bench.report.board.budgets import added, family
from gradshape_bench.report.grouping import RecordGroup


@dataclass(frozen=True)
class Dose:
    """What is known of the dose of one family of attacks against one defence.

    Attributes:
        smallest: the smallest number of poison rows that were run whose interval lies beyond the threshold; ``None`` if
            there is none.
        largest: the largest number of poison rows that was run and has an interval.
        open: numbers of poison rows that are at most ``smallest`` and whose interval holds the threshold.
        bounds: the thresholds.
    """

    smallest: int | None
    largest: int
    _: KW_ONLY
    open: tuple[int, ...] = ()
    bounds: frozenset[float] = frozenset()


def doses(group: RecordGroup) -> dict[tuple[str, str], Dose]:
    """Return the doses by family of attacks and defence; without those that have no threshold or no interval.

    Beyond the threshold is where the damage is larger than the bound that the case sets to it, whether the case expects
    the attack to be withstood or to work.
    """
    known: defaultdict[tuple[str, str], list[tuple[int, Record]]] = defaultdict(list)
    for record in group.records:
        rows = added(record)
        if rows and _bound(record) is not None:
            known[family(record.attack), record.defense].append((rows, record))
    found = {key: _dose(runs) for key, runs in known.items()}
    return {key: dose for key, dose in found.items() if dose is not None}


def _dose(runs: Sequence[tuple[int, Record]]) -> Dose | None:
    sides: dict[int, set[int]] = defaultdict(set)
    bounds = set()
    for rows, record in runs:
        estimate, bound = headline.damage(record), _bound(record)
        if estimate is None or bound is None or estimate.low is None or estimate.high is None or not estimate.n:
            continue
        bounds.add(bound)
        sides[rows].add(1 if estimate.low > bound else -1 if estimate.high <= bound else 0)
    if not sides:
        return None
    smallest = min((rows for rows, side in sides.items() if 1 in side), default=None)
    held = sorted(rows for rows, side in sides.items() if 0 in side and (smallest is None or rows < smallest))
    return Dose(smallest, max(sides), open=tuple(held), bounds=frozenset(bounds))


def _bound(record: Record) -> float | None:
    """Return the tightest bound on the damage among the thresholds of a record; ``None`` without one."""
    names = headline.headline(record)
    if names is None or not names.ranks:
        return None
    bounds = [one.threshold.bound for one in record.judgements if one.threshold.metric == names.damage]
    return min(bounds, default=None)
