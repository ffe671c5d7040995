"""How a heat map with many defences is split: into blocks of one kind of defence, each nearly full of measurements."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from gradshape_bench.records.record import Record
from gradshape_bench.report.plots.plot_group import VANILLA

# As many columns as can be read at the width of a page.
MOST_COLUMNS = 12
# Attacks share a block if they met at least this share of the defences that either met.
_ALIKE = 0.5
_SHAPING, _FILTERS, _OTHERS = "gradient shaping", "filters, and the controls that bound them", "other defences"
_TITLES = {"DP optimizer": _SHAPING, "outlier removal": _FILTERS, "control": _FILTERS}
Measured = Mapping[tuple[str, str], Record]


@dataclass(frozen=True)
class Block:
    """A part of a heat map.

    Attributes:
        title: the kind of its defences; empty if the map is whole.
        attacks, defenses: labels of its rows and columns. No row and no column is without a measurement.
    """

    title: str
    attacks: tuple[str, ...]
    defenses: tuple[str, ...]


def blocks(attacks: Sequence[str], defenses: Sequence[str], measured: Measured) -> list[Block]:
    """Return the blocks that show all that is measured, by attack and defence.

    Up to :data:`MOST_COLUMNS` defences are one block. More are split by the kind that their records state, and
    attacks that were run against few of a kind are parted from those that were run against many. Plain training is the
    first column of each block, to compare with.
    """
    if len(defenses) <= MOST_COLUMNS:
        return [Block("", *_measured(attacks, defenses, measured))]
    found = list(_split(attacks, defenses, measured))
    shown = {attack for block in found for attack in block.attacks}
    if alone := [attack for attack in attacks if (attack, VANILLA) in measured and attack not in shown]:
        # Nothing but plain training was attacked in this way: such rows need few columns.
        least = min(range(len(found)), key=lambda place: len(found[place].defenses))
        rows = {*alone, *found[least].attacks}
        found[least] = replace(found[least], attacks=tuple(attack for attack in attacks if attack in rows))
    return found


def _split(attacks: Sequence[str], defenses: Sequence[str], measured: Measured) -> Iterator[Block]:
    plain = [defense for defense in defenses if defense == VANILLA]
    kinds: defaultdict[str, list[str]] = defaultdict(list)
    for defense in defenses:
        if defense != VANILLA:
            kinds[_kind(defense, measured)].append(defense)
    for title, columns in kinds.items():
        for rows, own in _alike(attacks, columns, measured):
            for part in _even_parts(own):
                yield Block(title, *_measured(rows, part, measured, beside=plain))


def _kind(defense: str, measured: Measured) -> str:
    stated = next(
        (
            kind
            for (_, own), record in measured.items()
            if own == defense and (kind := record.details.get("defense_kind"))
        ),
        None,
    )
    return _TITLES.get(stated, _OTHERS) if isinstance(stated, str) else _OTHERS


def _alike(attacks: Sequence[str], columns: Sequence[str], measured: Measured) -> Iterator[tuple[list[str], list[str]]]:
    """Yield attacks that were run against nearly the same defences, with the defences that most of them met.

    Defences that few of them met follow with these attacks alone.
    """
    parts: list[tuple[list[str], set[str]]] = []
    for attack in attacks:
        own = {column for column in columns if (attack, column) in measured}
        if not own:
            continue
        for rows, known in parts:
            if len(known & own) >= _ALIKE * len(known | own):
                rows.append(attack)
                known |= own
                break
        else:
            parts.append(([attack], own))
    for rows, known in parts:
        met = {column: sum((row, column) in measured for row in rows) for column in columns if column in known}
        common = [column for column, count in met.items() if 2 * count > len(rows)] or list(met)
        yield rows, common
        yield from _alike(rows, [column for column in met if column not in common], measured)


def _even_parts(columns: Sequence[str]) -> Iterator[Sequence[str]]:
    count = -(-len(columns) // MOST_COLUMNS)
    size = -(-len(columns) // count)
    for start in range(0, len(columns), size):
        yield columns[start : start + size]


def _measured(
    attacks: Sequence[str], columns: Sequence[str], measured: Measured, *, beside: Sequence[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the rows and columns with a measurement, and with those ``beside`` in front."""
    rows = tuple(attack for attack in attacks if any((attack, column) in measured for column in columns))
    shown = [column for column in (*beside, *columns) if any((row, column) in measured for row in rows)]
    return rows, tuple(shown)
