"""Drawing the parts of pictures: grids of panels, curves with intervals, published numbers, legends."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradshape.metrics import Estimate, Method
from gradshape_bench.report.plots.published_marks import PublishedMark
from gradshape_bench.report.plots.style import GREY, Look, wrapped

_NARROWEST = 4.6
# Letters of a title, and of a panel's, on an inch; inches of a letter, a symbol and a line of a legend.
_LETTERS, _PANEL_LETTERS, _LETTER, _SYMBOL, _LINE = 12, 14, 0.056, 0.5, 0.16
_MARKERS = 12
SEEDS = "single seeds"
# The arrow points from a published bound to where the measurement should lie.
_ARROWS = {"<": "v", ">": "^"}


def panels(
    rows: int,
    columns: int,
    *,
    title: str,
    width: float = 3.1,
    height: float = 2.2,
    legend_rows: int = 2,
    **sharing: Any,
) -> tuple[Figure, list[list[Axes]]]:
    """Make a figure with a grid of panels.

    Args:
        rows, columns: size of the grid.
        title: title over all panels; long lines are broken.
        width, height: size of one panel, in inches.
        legend_rows: how many lines the legend below the panels has.
        sharing: ``sharex`` and ``sharey`` of matplotlib.
    """
    size = max(_NARROWEST, columns * width + 0.5)
    figure = Figure(figsize=(size, rows * height + 0.5 + legend_rows * _LINE), layout="constrained")
    set_title(figure, title)
    return figure, figure.subplots(rows, columns, squeeze=False, **sharing).tolist()


def set_title(figure: Figure, title: str) -> None:
    """Put a title over the figure, broken into lines that fit."""
    letters = int(_LETTERS * float(figure.get_figwidth()))
    figure.suptitle("\n".join(wrapped(line, letters) for line in title.split("\n")))


def title_panel(axes: Axes, words: str, *, width: float = 3.1) -> None:
    """Put a title over one panel of that width, in inches, broken into lines that fit."""
    axes.set_title(wrapped(words, int(_PANEL_LETTERS * width)))


def curve(
    axes: Axes,
    places: Sequence[float],
    values: Sequence[Estimate | None],
    look: Look,
    *,
    label: str,
    bars: float | None = None,
    faint: bool = False,
) -> Line2D:
    """Draw a curve with its intervals; unknown values are gaps.

    Args:
        axes: axes to draw on.
        places, values: the points.
        look: how they are drawn.
        label: name of the curve in the legend.
        bars: draw intervals as bars, so far beside their points, where the bands of many curves would hide each other.
        faint: draw bands fainter, as there are several.
    """
    known = [None if value is None else value.value for value in values]
    ends = [(math.nan, math.nan) if v is None or v.low is None or v.high is None else (v.low, v.high) for v in values]
    low, high = zip(*ends, strict=True) if ends else ((), ())
    if bars is None:
        axes.fill_between(places, low, high, color=look.color, alpha=0.07 if faint else 0.15, linewidth=0)
    alone = [place for place in range(len(known)) if bars is not None or _isolated(known, place)]
    axes.vlines(
        [places[i] + (bars or 0.0) for i in alone],
        [low[i] for i in alone],
        [high[i] for i in alone],
        color=look.color,
        linewidth=0.9,
    )
    (line,) = axes.plot(
        places,
        [math.nan if value is None else value for value in known],
        color=look.color,
        marker=look.marker,
        linestyle=look.line,
        label=label,
        markevery=_marked(known),
        markeredgecolor="white",
        markeredgewidth=0.4,
    )
    return line


def seeds(axes: Axes, places: Sequence[float], values: Sequence[Estimate | None], look: Look) -> list[Artist]:
    """Draw the values of single seeds as faint points, where they are known; return what the legend shows of them.

    The trials of a rate are no such values: each is 0 or 1.
    """
    points = [
        (place, one)
        for place, value in zip(places, values, strict=True)
        if value is not None and value.method is not Method.WILSON and len(value.values) > 1
        for one in value.values
    ]
    if not points:
        return []
    x, y = zip(*points, strict=True)
    axes.scatter(x, y, s=9, color=look.color, alpha=0.35, linewidths=0, zorder=1.8)
    return [Line2D([], [], color=GREY, marker=".", alpha=0.5, linestyle="none", label=SEEDS)]


def _marked(values: Sequence[float | None]) -> list[int]:
    """Return the places that get a marker: some of many, and all that no line would show."""
    step = max(1, math.ceil(len(values) / _MARKERS))
    return [
        place for place, v in enumerate(values) if v is not None and (place % step == 0 or _isolated(values, place))
    ]


def _isolated(values: Sequence[float | None], place: int) -> bool:
    """Return whether a known value has no known neighbour, so that neither a line nor a band shows it."""
    around = [*values[max(0, place - 1) : place], *values[place + 1 : place + 2]]
    return values[place] is not None and all(value is None for value in around)


def draw_published(
    axes: Axes, place: float, marks: Iterable[PublishedMark], look: Look, *, level: bool = False
) -> list[Artist]:
    """Draw published numbers as hollow markers; return what the legend shows for them.

    Args:
        axes: axes to draw on.
        place: position on the x axis.
        marks: the published numbers.
        look: look of the curve that measures the same; bounds have an arrow instead of its marker.
        level: whether the number holds for all epochs, so that a line shows it, too.
    """
    proxies: list[Artist] = []
    for mark in marks:
        color = look.color if mark.comparable else GREY
        if level:
            axes.axhline(mark.value, color=color, linestyle="-.", linewidth=0.9, zorder=1.5)
        axes.plot([place], [mark.value], color=color, zorder=5, **_hollow(_ARROWS.get(mark.relation, look.marker)))
        color = "black" if mark.comparable else GREY
        label = f"{mark.words} (mean over epochs)" if level and mark.relation == "=" else mark.words
        proxies.append(Line2D([], [], color=color, label=label, **_hollow(_ARROWS.get(mark.relation, "o"))))
    return proxies


def _hollow(shape: str) -> dict[str, Any]:
    return {"marker": shape, "linestyle": "none", "markersize": 8, "markerfacecolor": "none", "markeredgewidth": 1.1}


def distinct(handles: Iterable[Artist]) -> list[Artist]:
    """Return the first handle with each label."""
    found: dict[str, Artist] = {}
    for handle in handles:
        found.setdefault(str(handle.get_label()), handle)
    return list(found.values())


def legend(figure: Figure, handles: Iterable[Artist]) -> None:
    """Put a legend below all panels, in as many columns as fit."""
    shown = distinct(handles)
    figure.legend(
        handles=shown,
        loc="outside lower center",
        ncols=_columns(shown, float(figure.get_figwidth())),
        columnspacing=1.2,
    )


def panel_legend(axes: Axes, handles: Iterable[Artist], *, width: float = 3.1, within: Axes | None = None) -> None:
    """Put a legend below one panel and the label of its axis, or into the empty place ``within`` of another panel."""
    shown = distinct(handles)
    if within is not None:
        within.legend(handles=shown, loc="upper center", ncols=_columns(shown, width), columnspacing=1.0)
        return
    axes.legend(
        handles=shown,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        borderaxespad=4.2,
        ncols=_columns(shown, width),
        columnspacing=1.0,
    )


def _columns(handles: Sequence[Artist], width: float) -> int:
    longest = max((len(str(handle.get_label())) for handle in handles), default=0)
    return max(1, min(len(handles), int(width / (longest * _LETTER + _SYMBOL))))
