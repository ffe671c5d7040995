"""Gradients of poison beside those of clean rows while a model trains, with and without a defence.

Hong et al. 2020, Fig. 4 c and f, and Fig. 7.
"""

from collections.abc import Iterator, Sequence

from matplotlib.artist import Artist

from gradshape_bench.records.record import Record
from gradshape_bench.report.plots import canvas, gradients_by_intensity
from gradshape_bench.report.plots.picture import Picture
from gradshape_bench.report.plots.plot_group import PlotGroup, plot_groups
from gradshape_bench.report.plots.series import has_series, is_one_shot, series
from gradshape_bench.report.plots.style import looks, style, text
from gradshape_bench.report.words import attack_phrase, defense_words

# A picture with more attacks would be too wide for a page.
_COLUMNS = 3


def pictures(records: Sequence[Record]) -> Iterator[Picture]:
    """Draw pictures for each group: a column for each attack against several defences, a curve for each defence."""
    for group in plot_groups(filter(has_series, records)):
        attacks = [attack for attack in group.attacks if len(_measured(group, attack)) > 1]
        parts = [attacks[i : i + _COLUMNS] for i in range(0, len(attacks), _COLUMNS)]
        for number, part in enumerate(parts, start=1):
            yield _picture(group, part, *([f"part{number}"] if len(parts) > 1 else []))


def _measured(group: PlotGroup, attack: str) -> list[Record]:
    found = (group.find(attack, defense) for defense in group.defenses)
    return [
        record
        for record in found
        if record is not None and any(series(record, name) for name in gradients_by_intensity.ROWS)
    ]


def _picture(group: PlotGroup, attacks: Sequence[str], *part: str) -> Picture:
    # With few curves there is room for the placebo of clean rows.
    alone = is_one_shot(group.records[0])
    what = "Gradients of one poison row and clean rows" if alone else "Gradients of poison and clean rows"
    with style():
        figure, grid = canvas.panels(
            2,
            len(attacks),
            title=group.title(f"{what}, as they enter the update"),
            width=4.1 if alone else 3.1,
            legend_rows=len(group.defenses) // 2 + 2,
            sharex=True,
            sharey="row",
        )
        look_by_label = looks(group.defenses)
        handles: list[Artist] = []
        for column, attack in enumerate(attacks):
            canvas.title_panel(grid[0][column], text(attack_phrase(attack)))
            axes = [row[column] for row in grid]
            for record in _measured(group, attack):
                handles += gradients_by_intensity.draw(
                    axes,
                    record,
                    look_by_label[record.defense],
                    label=text(defense_words(record.defense)),
                    placebo=alone,
                )
        gradients_by_intensity.finish(grid)
        canvas.legend(figure, gradients_by_intensity.ordered(handles))
    return Picture(group.file_name("fig7_gradients" if alone else "fig4_gradients", *part), figure)
