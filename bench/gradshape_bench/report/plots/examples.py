"""Examples of poison, from weak to intense attacks.

Hong et al. 2020, Fig. 2.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from gradshape_bench.records.record import Record
from gradshape_bench.report.plots import canvas, row_picture
from gradshape_bench.report.plots.picture import Picture
from gradshape_bench.report.plots.plot_group import PlotGroup, plot_groups, without_numbers
from gradshape_bench.report.plots.style import style, text, wrapped
from gradshape_bench.report.words import attack_phrase, common_words

# More examples in a row would be too small to see anything.
_COLUMNS = 7
# Letters of a line above a picture.
_LETTERS = 18


def pictures(records: Sequence[Record]) -> Iterator[Picture]:
    """Draw a picture for each group: a row for each family of attacks, a column for each intensity."""
    for group in plot_groups(record for record in records if _example(record)):
        yield _picture(group, _rows(group))


def _example(record: Record) -> Mapping[str, Any]:
    """Return the poison that the record keeps; empty if there is none."""
    return _row(record.details.get("example"))


def _original(record: Record) -> Mapping[str, Any]:
    """Return the clean row that this poison was made from; empty if the record keeps none."""
    return _row(_example(record).get("original"))


def _row(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) and found.get("pixels") else {}


def _rows(group: PlotGroup) -> list[list[Record]]:
    """Return the first record of each attack, a row for each family; long families take several rows.

    Attacks without kin share rows.
    """
    families: defaultdict[str, dict[str, Record]] = defaultdict(dict)
    for record in group.records:
        families[without_numbers(record.attack)].setdefault(record.attack, record)
    found = [list(family.values()) for family in families.values()]
    alone = [record for family in found if len(family) == 1 for record in family]
    rows = [alone, *(family for family in found if len(family) > 1)]
    return [row[i : i + _COLUMNS] for row in rows for i in range(0, len(row), _COLUMNS)]


def _picture(group: PlotGroup, rows: Sequence[Sequence[Record]]) -> Picture:
    columns = max(map(len, rows))
    # Above a row of poison are the clean rows that it was made from, where records keep them.
    lines = [(row, clean) for row in rows for clean in (True, False) if not clean or any(map(_original, row))]
    with style():
        figure, grid = canvas.panels(
            len(lines), columns, title=group.title("What the poison looks like"), width=1.15, height=1.65, legend_rows=0
        )
        for panels, (row, clean) in zip(grid, lines, strict=True):
            for panel in panels[len(row) :]:
                panel.set_visible(False)
            if clean:
                _draw_originals(panels, row)
                continue
            phrases = [attack_phrase(record.attack) for record in row]
            kin = len({without_numbers(record.attack) for record in row}) == 1
            common, own = common_words(phrases) if kin else ("", list(map(str, phrases)))
            for panel, record, words in zip(panels, row, own, strict=False):
                shown = _example(record)
                row_picture.draw(panel, shown)
                name = wrapped(text(words), _LETTERS if columns > 1 else 3 * _LETTERS)
                panel.set_title(f"{name}\nlabelled as class {shown['label']}", fontsize=7.5)
            if common:
                _name(panels[0], wrapped(text(common), _LETTERS))
    return Picture(group.file_name("fig2_poisons"), figure)


def _draw_originals(panels: Sequence[Axes], row: Sequence[Record]) -> None:
    for panel, record in zip(panels, row, strict=False):
        if shown := _original(record):
            row_picture.draw(panel, shown)
            panel.set_title(f"before, labelled\nas class {shown['label']}", fontsize=7.5)
        else:
            panel.set_visible(False)


def _name(panel: Axes, words: str) -> None:
    """Write what a row has in common beside its first picture, as an image has no axis label."""
    panel.text(-0.12, 0.5, words, transform=panel.transAxes, rotation=90, ha="right", va="center", fontsize=7.5)
