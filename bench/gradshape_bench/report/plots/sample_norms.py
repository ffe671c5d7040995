"""Norms of single rows' gradients before clipping, and the ratio of the means before and after clipping.

The mean gradient of a few rows is large either because the gradients of these rows are large, or because they point the
same way; the norms of single rows tell which.
"""

from collections.abc import Iterator, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gradshape_bench.records.record import Record
from gradshape_bench.report.plots import canvas
from gradshape_bench.report.plots.gradients_by_intensity import dotted, families, label_epochs, ordered, scale
from gradshape_bench.report.plots.picture import Picture
from gradshape_bench.report.plots.plot_group import PlotGroup, attack_names
from gradshape_bench.report.plots.series import epochs, series
from gradshape_bench.report.plots.style import GREY, Look, looks, style, text
from gradshape_bench.report.words import defense_words

NORMS = ("sample_norm_clean", "sample_norm_poison")
RAW, SHAPED = "magnitude_ratio_raw", "magnitude_ratio"
WORDS = {
    NORMS: "mean norm of one row's gradient,\nall layers, before clipping",
    (SHAPED, RAW): "magnitude ratio\nbefore clipping",
}
CLEAN, ENTERED = "clean rows (upper row)", "as it enters the update (lower row)"


def pictures(records: Sequence[Record]) -> Iterator[Picture]:
    """Draw a picture for each group and family of attacks: a column for each defence, a curve for each attack."""
    for group, family, attacks, defenses in families(records, _suits):
        yield _picture(group, family, attacks, defenses)


def _suits(record: Record) -> bool:
    return all(series(record, name) for name in NORMS)


def _picture(group: PlotGroup, family: str, attacks: Sequence[str], defenses: Sequence[str]) -> Picture:
    cells = [(defense, attack, group.find(attack, defense)) for defense in defenses for attack in attacks]
    found = [(defense, attack, record) for defense, attack, record in cells if record is not None and _suits(record)]
    # Without clipping both ratios are equal, and only the norms are drawn.
    shown = [NORMS, *([(SHAPED, RAW)] if any(_differ(record) for _, _, record in found) else [])]
    common, labels = attack_names(attacks)
    with style():
        figure, grid = canvas.panels(
            len(shown),
            len(defenses),
            title=group.title(f"Gradients of single rows: {common}"),
            legend_rows=len(attacks) // 2 + 2,
            sharex=True,
            sharey="row",
        )
        look_by_label = looks(attacks)
        handles: list[Artist] = []
        for row, names in zip(grid, shown, strict=True):
            for defense, attack, record in found:
                handles += _draw(
                    row[defenses.index(defense)], record, names, look_by_label[attack], label=labels[attack]
                )
            row[0].set_ylabel(WORDS[names])
            scale(row)
        for panel, defense in zip(grid[0], defenses, strict=True):
            canvas.title_panel(panel, text(defense_words(defense)))
        for panel in grid[-1]:
            label_epochs(panel)
        canvas.legend(figure, sorted(ordered(handles), key=lambda handle: handle.get_label() in (CLEAN, ENTERED)))
    return Picture(group.file_name("sample_norms", family), figure)


def _differ(record: Record) -> bool:
    """Return whether clipping changed the ratio."""
    return bool(series(record, RAW)) and series(record, RAW) != series(record, SHAPED)


def _draw(panel: Axes, record: Record, names: tuple[str, str], look: Look, *, label: str) -> list[Artist]:
    """Draw the second series as a curve and the first one dotted; return what the legend shows."""
    beside, found = (series(record, name) for name in names)
    handles: list[Artist] = []
    if beside:
        dotted(panel, beside, look)
        words = CLEAN if names is NORMS else ENTERED
        handles.append(Line2D([], [], color=GREY, linestyle=":", linewidth=1, label=words))
    if found:
        handles.append(canvas.curve(panel, epochs(found), found, look, label=label))
    return handles
