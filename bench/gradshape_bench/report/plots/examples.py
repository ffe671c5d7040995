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
from gradshape_bench.report.plots.style import style, text

# More examples in a row would be too small to see anything.
_COLUMNS = 10


def pictures(records: Sequence[Record]) -> Iterator[Picture]:
    """Draw a picture for each group: a row for each family of attacks, a column for each intensity."""
    for group in plot_groups(record for record in records if _example(record)):
        yield _picture(group, _rows(group))


def _example(record: Record) -> Mapping[str, Any]:
    """Return the poison that the record keeps; empty if there is none."""
    found = record.details.get("example")
    return found if isinstance(found, Mapping) and found.get("pixels") else {}


def _rows(group: PlotGroup) -> list[list[Record]]:
    """Return the first record of each attack, by family; long families take several rows."""
    families: defaultdict[str, dict[str, Record]] = defaultdict(dict)
    for record in group.records:
        families[without_numbers(record.attack)].setdefault(record.attack, record)
    found = [list(family.values()) for family in families.values()]
    return [family[i : i + _COLUMNS] for family in found for i in range(0, len(family), _COLUMNS)]


def _picture(group: PlotGroup, families: Sequence[Sequence[Record]]) -> Picture:
    columns = max(map(len, families))
    with style():
        figure, grid = canvas.panels(
            len(families), columns, title=group.title("Poison"), width=1.05, height=1.45, legend_rows=0
        )
        for panels, family in zip(grid, families, strict=True):
            common, own = shared([record.attack for record in family])
            for panel, record, words in zip(panels, family, own, strict=False):
                shown = _example(record)
                row_picture.draw(panel, shown)
                panel.set_title(f"{text(words)}\nclass {shown['label']}", fontsize=7.5)
            for panel in panels[len(family) :]:
                panel.set_visible(False)
            if common:
                _name(panels[0], text(common))
    return Picture(group.file_name("fig2_poisons"), figure)


def _name(panel: Axes, words: str) -> None:
    """Write what a row has in common beside its first picture, as an image has no axis label."""
    panel.text(-0.12, 0.5, words, transform=panel.transAxes, rotation=90, ha="right", va="center", fontsize=6.5)


def shared(labels: Sequence[str]) -> tuple[str, list[str]]:
    """Return what labels of one family have in common, with a dot where they differ, and what each has alone.

    >>> shared(["watermark_a0.1_100rows", "watermark_a1_100rows"])
    ('watermark_·_100rows', ['a0.1', 'a1'])
    >>> shared(["badnets_s1_1"])
    ('', ['badnets_s1_1'])
    """
    parts = [label.split("_") for label in labels]
    if len(labels) < 2 or len({len(each) for each in parts}) > 1:
        return "", list(labels)
    same = [len(set(column)) == 1 for column in zip(*parts, strict=True)]
    if not any(same):
        return "", list(labels)
    common = "_".join(part if alike else "·" for part, alike in zip(parts[0], same, strict=True))
    own = ["_".join(p for p, alike in zip(each, same, strict=True) if not alike) for each in parts]
    return common, own
