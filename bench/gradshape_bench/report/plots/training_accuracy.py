"""Accuracy of a model on clean training rows and on poison while it trains.

Hong et al. 2020, Appendix E, Fig. 11.
"""

from collections.abc import Iterator, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes

from gradshape_bench.records.record import Record
from gradshape_bench.report.plots import canvas
from gradshape_bench.report.plots.gradients_by_intensity import label_epochs, ordered
from gradshape_bench.report.plots.picture import Picture
from gradshape_bench.report.plots.plot_group import PlotGroup, plot_groups
from gradshape_bench.report.plots.published_marks import published_marks
from gradshape_bench.report.plots.series import epochs, has_series, series
from gradshape_bench.report.plots.style import nth_look, style, text
from gradshape_bench.report.words import attack_phrase, defense_words

SIDES = {
    "train_accuracy_clean": ("clean rows", nth_look(0)),
    "train_accuracy_poison": ("poison, as it is labelled", nth_look(1)),
}
_COLUMNS = 3


def pictures(records: Sequence[Record]) -> Iterator[Picture]:
    """Draw a picture for each group and defence: a panel for each attack."""
    for group in plot_groups(filter(has_series, records)):
        for defense in group.defenses:
            found = [record for record in group.records if record.defense == defense]
            shown = [record for record in found if any(series(record, name) for name in SIDES)]
            if shown:
                yield _picture(group, defense, shown)


def _picture(group: PlotGroup, defense: str, records: Sequence[Record]) -> Picture:
    columns = min(_COLUMNS, len(records))
    rows = -(-len(records) // columns)
    with style():
        figure, grid = canvas.panels(
            rows,
            columns,
            title=group.title(f"Accuracy on the training rows: {text(defense_words(defense))}"),
            sharex=True,
            sharey=True,
        )
        panels = [panel for row in grid for panel in row]
        handles: list[Artist] = []
        for panel, record in zip(panels, records, strict=False):
            canvas.title_panel(panel, text(attack_phrase(record.attack)))
            handles += _panel(panel, record)
        for row in grid:
            row[0].set_ylabel("accuracy on training rows\n(share correct)")
        for place, panel in enumerate(panels):
            if place >= len(records):
                panel.set_visible(False)
            elif place + columns >= len(records):
                label_epochs(panel)
                panel.tick_params(labelbottom=True)
        panels[0].set_ylim(-0.03, 1.03)
        canvas.legend(figure, ordered(handles))
    return Picture(group.file_name("fig11_training_accuracy", defense), figure)


def _panel(panel: Axes, record: Record) -> list[Artist]:
    handles: list[Artist] = []
    for name, (words, look) in SIDES.items():
        found = series(record, name)
        if found:
            handles.append(canvas.curve(panel, epochs(found), found, look, label=words))
            handles += canvas.draw_published(panel, len(found) / 2, published_marks(record, name), look, level=True)
    return handles
