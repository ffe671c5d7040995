"""Heat maps of every attack against every defence: the leaderboard's tables at a glance."""

import math
from collections.abc import Iterator, Sequence

from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from gradshape_bench.records.record import Record
from gradshape_bench.report import cells, tradeoff
from gradshape_bench.report.headline import headline
from gradshape_bench.report.plots import canvas
from gradshape_bench.report.plots.intensities import HARMLESS, WORDS
from gradshape_bench.report.plots.picture import Picture
from gradshape_bench.report.plots.plot_group import PlotGroup, plot_groups
from gradshape_bench.report.plots.style import style, text

# From light (harmless) to dark, which everybody can tell apart, in grey too.
_COLORS = "YlOrBr"
# Smallest range of the colours, so that mere noise gives no dark cells.
_RANGE = 0.05
LEGEND = (
    "✓ meets its thresholds, ✗ misses one, ? the interval leaves it open,\n"
    "† expected to miss one; bold: best defence of the row; –: not measured\n"
    "‡ the attack does no more without a defence than random flips under its constraints"
)


def pictures(records: Sequence[Record]) -> Iterator[Picture]:
    """Draw a picture for each group that ranks defences and has at least two cells."""
    for group in plot_groups(record for record in records if not tradeoff.concerns(record)):
        names = [found for found in map(headline, group.records) if found is not None and found.ranks]
        if names:
            metric = names[0].damage
            # A rate over no targets is no measurement.
            shown = [record for record in group.records if metric in record.metrics and record.metrics[metric].n]
            if len(shown) > 1:
                yield _picture(group, shown, metric)


def _picture(group: PlotGroup, records: Sequence[Record], metric: str) -> Picture:
    measured = {(record.attack, record.defense): record for record in reversed(records)}
    attacks = [attack for attack in group.attacks if any(key[0] == attack for key in measured)]
    defenses = [defense for defense in group.defenses if any(key[1] == defense for key in measured)]
    values = [measured[key].metrics[metric].value for key in measured]
    harmless = HARMLESS.get(metric, 0.0)
    shades = Normalize(harmless, max(harmless + _RANGE, *values), clip=True)
    width, height = 0.62 * len(defenses) + 3.0, max(3.2, 0.3 * len(attacks) + 2.3)
    with style():
        figure = Figure(figsize=(max(4.6, width), height), layout="constrained")
        canvas.set_title(figure, group.title(f"Attacks against defences: {text(metric)}"))
        axes = figure.add_subplot()
        grid = [[_value(measured.get((attack, defense)), metric) for defense in defenses] for attack in attacks]
        colors = colormaps[_COLORS].with_extremes(bad="#eeeeee")
        image = axes.imshow(grid, cmap=colors, norm=shades, aspect="auto", interpolation="nearest")
        for row, attack in enumerate(attacks):
            best = group.best(attack)
            for column, defense in enumerate(defenses):
                record = measured.get((attack, defense))
                axes.text(
                    column,
                    row,
                    _words(record, metric),
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="black" if record is None else _ink(shades(record.metrics[metric].value)),
                    fontweight="bold" if record is not None and record is best else "normal",
                )
        axes.set_xticks(range(len(defenses)), [text(defense) for defense in defenses], rotation=40, ha="right")
        axes.set_yticks(range(len(attacks)), [_name(group, attack) for attack in attacks])
        axes.set_xlabel("defence")
        counts_rows = not any("success_rate_control" in record.metrics for record in records)
        axes.set_ylabel("attack, % of the clean rows" if counts_rows else "attack, poison rows at most")
        axes.grid(visible=False)
        figure.colorbar(image, label=WORDS.get(metric, text(metric)))
        figure.supxlabel(LEGEND, fontsize=7)
    return Picture(group.file_name("heat_map"), figure)


def _name(group: PlotGroup, attack: str) -> str:
    return f"{text(attack)} ‡" if attack in group.no_better_than_control else text(attack)


def _value(record: Record | None, metric: str) -> float:
    return math.nan if record is None else record.metrics[metric].value


def _words(record: Record | None, metric: str) -> str:
    if record is None:
        return "–"
    return f"{cells.number(record.metrics[metric].value)} {cells.mark(record)}".rstrip()


def _ink(shade: float) -> str:
    """Return the colour of the text: black on light cells, white on dark ones."""
    red, green, blue, _ = colormaps[_COLORS](float(shade))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
