"""Poison among the clean rows in the plane of two principal components, and what it looks like.

Hong et al. 2020, section 7.1, Fig. 8.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D

from gradshape_bench.records.record import Record
from gradshape_bench.report import cells
from gradshape_bench.report.plots import canvas, row_picture
from gradshape_bench.report.plots.picture import Picture
from gradshape_bench.report.plots.plot_group import PlotGroup, plot_groups
from gradshape_bench.report.plots.style import COLORS, GREY, nth_look, style, text
from gradshape_bench.report.words import attack_phrase

PROTOCOL = "clusters"
# How many attacks a picture shows, and the places of label and cluster in a point.
_ROWS, _LABEL, _CLUSTER = 3, 2, 3


@dataclass(frozen=True)
class _Points:
    """How the points of clean rows or of poison are drawn."""

    words: str
    marker: str
    other: str
    size: float
    edge: str
    order: float


_KINDS = {
    "clean": _Points("clean row", "o", "D", 7, "none", 2),
    "poison": _Points("poison, by the class that it claims; larger with more copies", "X", "P", 14, "black", 3),
}


def pictures(records: Sequence[Record]) -> Iterator[Picture]:
    """Draw a picture for each group: a row for each attack, with classes, clusters and the most frequent poisons."""
    for group in plot_groups(record for record in records if record.protocol == PROTOCOL):
        shown = [record for record in group.records if _kept(record)]
        parts = [shown[i : i + _ROWS] for i in range(0, len(shown), _ROWS)]
        for number, part in enumerate(parts, start=1):
            yield _picture(group, part, *([f"part{number}"] if len(parts) > 1 else []))


def _kept(record: Record) -> Mapping[str, Any]:
    """Return what the protocol keeps for a picture; empty if there is none."""
    found = record.details.get("picture")
    return found if isinstance(found, Mapping) and found.get("clean") and found.get("poison") else {}


def _picture(group: PlotGroup, records: Sequence[Record], *part: str) -> Picture:
    with style():
        figure = Figure(figsize=(9.6, 3.1 * len(records) + 0.9), layout="constrained")
        canvas.set_title(figure, group.title("Poison among the clean rows, first two principal components"))
        grid = figure.add_gridspec(len(records), 3, width_ratios=(3, 3, 2))
        for row, record in enumerate(records):
            left = figure.add_subplot(grid[row, 0])
            right = figure.add_subplot(grid[row, 1], sharex=left, sharey=left)
            _classes(left, record)
            _clusters(right, record)
            _poisons(figure, grid[row, 2], record)
        canvas.legend(figure, [_symbol(GREY, kind.marker, kind.words) for kind in _KINDS.values()])
    return Picture(group.file_name("fig8_clusters", *part), figure)


def _classes(axes: Axes, record: Record) -> None:
    """Draw the rows in the colours of their classes, poison in that of the class that it claims."""
    _scatter(axes, record, _LABEL, "class {}", first_color=0, first_number=0)
    canvas.title_panel(axes, f"{text(attack_phrase(record.attack))}: classes")


def _clusters(axes: Axes, record: Record) -> None:
    """Draw the same rows in the colours of their k-means clusters."""
    _scatter(axes, record, _CLUSTER, "cluster {}", first_color=2, first_number=1)
    purity = record.metrics.get("cluster_purity")
    words = f": {100 * purity.value:.0f} % of the poison in clusters of mostly poison" if purity is not None else ""
    axes.set_title(f"k-means{words}")
    axes.set_ylabel("")


def _scatter(axes: Axes, record: Record, column: int, words: str, *, first_color: int, first_number: int) -> None:
    """Draw the points, coloured by the value in that column; poison with more copies is larger."""
    shown = _kept(record)
    values = sorted({int(point[column]) for kind in _KINDS for point in shown[kind]})
    handles: list[Artist] = []
    for place, value in enumerate(values):
        color = nth_look(place + first_color).color
        # There are more classes than colours: the next ones have other symbols.
        again = place >= len(COLORS)
        for kind, look in _KINDS.items():
            copies = shown.get(f"{kind}_counts") or [1] * len(shown[kind])
            points = [(p, n) for p, n in zip(shown[kind], copies, strict=True) if int(p[column]) == value]
            axes.scatter(
                [point[0] for point, _ in points],
                [point[1] for point, _ in points],
                s=[look.size * (1 + math.log2(max(1, count)) / 3) for _, count in points],
                color=color,
                marker=look.other if again else look.marker,
                edgecolors=look.edge,
                linewidths=0.4,
                alpha=0.6,
                zorder=look.order,
            )
        clean = _KINDS["clean"]
        handles.append(_symbol(color, clean.other if again else clean.marker, words.format(value + first_number)))
    axes.set_xlabel(_component(shown, 1))
    axes.set_ylabel(_component(shown, 2))
    canvas.panel_legend(axes, handles, width=4.2)


def _component(shown: Mapping[str, Any], number: int) -> str:
    shares = shown.get("explained") or ()
    return f"component {number}" + (f" ({100 * shares[number - 1]:.0f} % of variance)" if len(shares) >= number else "")


def _symbol(color: str, marker: str, words: str) -> Artist:
    """Return an entry of the legend."""
    return Line2D([], [], color=color, marker=marker, linestyle="none", markeredgewidth=0, label=words)


def _poisons(figure: Figure, place: SubplotSpec, record: Record) -> None:
    """Draw the most frequent poisons, each with the class that it claims and the number of copies."""
    kinds = _kept(record).get("kinds") or []
    grid = place.subgridspec(2, 2)
    for number, kind in enumerate(kinds[:4]):
        axes = figure.add_subplot(grid[number // 2, number % 2])
        axes.set_title(f"class {kind['label']}\n{cells.count(kind['count'], 'row')}", fontsize=7.5)
        row_picture.draw(axes, kind)
