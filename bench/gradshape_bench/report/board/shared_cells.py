"""Which defences can be ranked side by side: those that were all measured on the same cells.

A mean over the cells that a defence happens to have would compare it on easier ground than the others.
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Set
from dataclasses import dataclass
from typing import Generic, TypeVar

from gradshape_bench.report.ordering import defense_order

C = TypeVar("C", bound=Hashable)


@dataclass(frozen=True)
class SharedCells(Generic[C]):
    """Defences, and the cells on which every one of them was measured.

    Attributes:
        defenses: at least two, in the order of reports.
        cells: at least one.
    """

    defenses: tuple[str, ...]
    cells: frozenset[C]


def shared_cells(measured: Mapping[str, Set[C]], *, reference: str) -> SharedCells[C] | None:
    """Return the defences and cells that make the largest full table; ``None`` if no two defences share a cell.

    Each pair of defences proposes the cells that both have, and with them go all defences that have these. The largest
    table is the one with the most entries; of equal ones that with more defences, then the first in order.

    Args:
        measured: for each defence, the cells that it was measured on.
        reference: a defence that belongs to every table if it was measured at all, such as plain training.

    >>> table = shared_cells({"vanilla": {1, 2, 3}, "a": {1, 2}, "b": {1, 2}, "c": {3}}, reference="vanilla")
    >>> table.defenses, sorted(table.cells)
    (('vanilla', 'a', 'b'), [1, 2])
    """
    labels = sorted((label for label, cells in measured.items() if cells), key=defense_order)
    numbers = {cell: 1 << place for place, cell in enumerate({cell for label in labels for cell in measured[label]})}
    # Sets as the bits of an integer: there may be hundreds of defences and thousands of cells.
    bits = {label: sum(numbers[cell] for cell in measured[label]) for label in labels}
    common = bits.get(reference, (1 << len(numbers)) - 1)
    # Many defences have the same cells.
    patterns = Counter(bits[label] for label in labels)
    proposals = dict.fromkeys(
        one & other & common
        for place, one in enumerate(patterns)
        for other in list(patterns)[place:]
        if one != other or patterns[one] > 1
    )
    best: tuple[tuple[int, int], int, list[str]] | None = None
    for cells in proposals:
        if not cells:
            continue
        having = [label for label in labels if bits[label] & cells == cells]
        size = len(having) * cells.bit_count(), len(having)
        if best is None or size > best[0]:
            best = size, cells, having
    if best is None:
        return None
    return SharedCells(tuple(best[2]), frozenset(cell for cell, bit in numbers.items() if best[1] & bit))
