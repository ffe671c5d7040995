"""Gradients of poison beside those of clean rows while a model trains, by the intensity of the attack.

Hong et al. 2020, Fig. 1.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from gradshape_bench.records.record import Record
from gradshape_bench.report.plots import canvas
from gradshape_bench.report.plots.picture import Picture
from gradshape_bench.report.plots.plot_group import PlotGroup, attack_names, plot_groups, without_numbers
from gradshape_bench.report.plots.published_marks import published_marks
from gradshape_bench.report.plots.series import Curve, epochs, has_series, series
from gradshape_bench.report.plots.style import GREY, Look, looks, style, text
from gradshape_bench.report.words import defense_words

ROWS = {
    "magnitude_ratio": "magnitude ratio\n" r"$\|g_{poison}\| \,/\, \|g_{clean}\|$",
    "cosine_similarity": "cosine of\n" r"$g_{poison}$ and $g_{clean}$",
}
PLACEBO = "placebo (clean rows)"
# If the largest value is more than this times the smallest, small ones would be flat on a linear axis.
_WIDE = 30.0
# The bands of more curves would hide each other.
_FEW = 3


def pictures(records: Sequence[Record]) -> Iterator[Picture]:
    """Draw a picture for each group and family of attacks: a column for each defence, a curve for each intensity."""
    for group, family, attacks, defenses in families(records, _suits):
        yield _picture(group, family, attacks, defenses)


def families(
    records: Sequence[Record], suits: Callable[[Record], bool]
) -> Iterator[tuple[PlotGroup, str, list[str], list[str]]]:
    """Yield each group with a family of attacks, these attacks, and the defences that have a suitable record."""
    for group in plot_groups(filter(has_series, records)):
        for family in dict.fromkeys(without_numbers(attack) for attack in group.attacks):
            attacks = [attack for attack in group.attacks if without_numbers(attack) == family]
            drawn = {record.defense for record in group.records if record.attack in attacks and suits(record)}
            if drawn:
                yield group, family, attacks, [defense for defense in group.defenses if defense in drawn]


def _suits(record: Record) -> bool:
    return any(series(record, name) for name in ROWS)


def _picture(group: PlotGroup, family: str, attacks: Sequence[str], defenses: Sequence[str]) -> Picture:
    common, names = attack_names(attacks)
    with style():
        figure, grid = canvas.panels(
            2,
            len(defenses),
            title=group.title(f"Gradients of poison and clean rows: {common}"),
            legend_rows=len(attacks) // 2 + 2,
            sharex=True,
            sharey="row",
        )
        look_by_label = looks(attacks)
        handles: list[Artist] = []
        for column, defense in enumerate(defenses):
            canvas.title_panel(grid[0][column], text(defense_words(defense)))
            for attack in attacks:
                record = group.find(attack, defense)
                if record is not None:
                    axes = [row[column] for row in grid]
                    handles += draw(
                        axes,
                        record,
                        look_by_label[attack],
                        label=names[attack],
                        placebo=True,
                        faint=len(attacks) > _FEW,
                    )
        finish(grid)
        canvas.legend(figure, ordered(handles))
    return Picture(group.file_name("fig1_gradients", family), figure)


def draw(
    axes: Sequence[Axes], record: Record, look: Look, *, label: str, placebo: bool, faint: bool = False
) -> list[Artist]:
    """Draw the ratio into the first panel and the cosine into the second; return what the legend shows.

    A placebo (as many clean rows as there are poison rows, against all other rows) has the colour of its attack.
    """
    handles: list[Artist] = []
    for panel, name in zip(axes, ROWS, strict=True):
        compared = series(record, f"placebo_{name}") if placebo else ()
        if compared:
            dotted(panel, compared, look)
            handles.append(Line2D([], [], color=GREY, linestyle=":", linewidth=1, label=PLACEBO))
        found = series(record, name)
        if found:
            handles.append(canvas.curve(panel, epochs(found), found, look, label=label, faint=faint))
            handles += canvas.draw_published(panel, len(found) / 2, published_marks(record, name), look, level=True)
    return handles


def dotted(panel: Axes, found: Curve, look: Look) -> None:
    """Draw what a curve is compared with, dotted and in its colour."""
    values = [float("nan") if value is None else value.value for value in found]
    panel.plot(epochs(found), values, color=look.color, linestyle=":", linewidth=1, zorder=1.5)


def ordered(handles: Sequence[Artist]) -> list[Artist]:
    """Sort handles: curves first, then what they are compared with."""
    return sorted(
        handles, key=lambda handle: (handle.get_label() == PLACEBO, str(handle.get_label()).startswith("published"))
    )


def finish(grid: Sequence[Sequence[Axes]]) -> None:
    """Set labels and scales of a grid whose rows are :data:`ROWS`."""
    for row, name in zip(grid, ROWS, strict=True):
        row[0].set_ylabel(ROWS[name])
        if name == "cosine_similarity":
            row[0].set_ylim(-1.08, 1.08)
        else:
            scale(row)
    for panel in grid[-1]:
        label_epochs(panel)


def scale(row: Sequence[Axes]) -> None:
    """Make the axis that a row of panels shares logarithmic if its values need that."""
    drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for panel in row for line in panel.lines])
    values = drawn[np.isfinite(drawn)]
    if len(values) and values.min() > 0 and values.max() / values.min() > _WIDE:
        row[0].set_yscale("log")
    else:
        row[0].set_ylim(bottom=0)


def label_epochs(panel: Axes) -> None:
    """Label the axis of epochs, with whole numbers on it."""
    panel.set_xlabel("training epoch")
    panel.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
