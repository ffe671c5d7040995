"""How much poison an attack was allowed, and which attacks differ in that alone."""

import re
from collections.abc import Iterable

from gradshape_bench.records.record import Record
from gradshape_bench.report.cells import number
from gradshape_bench.report.ordering import poison_counts


def family(attack: str) -> str:
    """Return an attack's label without its intensity, which is the number at its end.

    >>> family("label_flip_koh90_0.5"), family("no_attack")
    ('label_flip_koh90', 'no_attack')
    """
    match = re.fullmatch(r"(.+)_\d+(?:\.\d+)?(?:e[+-]?\d+)?", attack)
    return match[1] if match else attack


def budget(record: Record) -> int | None:
    """Return how many poison rows the attack was allowed to make; ``None`` if that is not recorded."""
    allowed = record.details.get("budget")
    if isinstance(allowed, int) and not isinstance(allowed, bool):
        return allowed
    return added(record)


def added(record: Record) -> int | None:
    """Return how many poison rows were added, the most of any seed; ``None`` if that is not recorded."""
    return max(poison_counts(record), default=None)


def train_rows(records: Iterable[Record]) -> int | None:
    """Return the number of clean rows, if these records agree on it."""
    found = {rows for record in records if isinstance(rows := record.details.get("train_rows"), int) and rows > 0}
    return found.pop() if len(found) == 1 else None


def rows_and_share(rows: int, of: int | None) -> str:
    """Format a number of poison rows, with the share of the clean rows that it is, if their number is known.

    >>> rows_and_share(57, 285), rows_and_share(3, 10_800), rows_and_share(0, 285)
    ('57 (20 %)', '3 (0.03 %)', '0')
    """
    if of is None or not rows:
        return f"{rows:,}"
    share = 100 * rows / of
    places = 0 if share >= 10 else 1 if share >= 1 else 2
    return f"{rows:,} ({number(share, places)} %)"
