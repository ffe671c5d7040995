"""Heat maps of every attack against every defence: the leaderboard's tables at a glance."""

import math
from collections.abc import Iterator, Mapping, Sequence

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from gradshape_bench.records.record import Record
from gradshape_bench.report import cells, tradeoff
from gradshape_bench.report.headline import headline
from gradshape_bench.report.ordering import is_control
from gradshape_bench.report.plots import canvas
from gradshape_bench.report.plots.damage import damage_scale
from gradshape_bench.report.plots.heat_map_blocks import Block, Measured, blocks
from gradshape_bench.report.plots.picture import Picture
from gradshape_bench.report.plots.plot_group import PlotGroup, plot_groups
from gradshape_bench.report.plots.style import style, text, wrapped
from gradshape_bench.report.words import attack_phrase, defense_words

# From light (harmless) to dark, which everybody can tell apart, in grey too.
_COLORS, _STEPS = "YlOrBr", 16
_UNKNOWN, _BROKEN, _HATCH = "#f2f2f2", "#d2d2d2", "#e4e4e4"
# Letters of a line beside a row and below a column; inches of a cell, and of what stands around the cells.
_ROW_LETTERS, _COLUMN_LETTERS = 32, 24
_CELL, _LINE, _ATTACKS, _DEFENSES, _AROUND = 0.47, 0.31, 2.3, 1.3, 1.5
_BROKEN_SIGN = "⊘"
SIGNS = {
    "✓": "✓ meets its thresholds",
    "✗": "✗ misses one",
    "?": "? undecided: the interval holds the threshold",
    "†": "† expected to miss one",
    _BROKEN_SIGN: "⊘ the clean model itself does not work, so that the number says nothing of the attack",
    "–": "– not measured",
    "‡": "‡ the attack does no more to the undefended model than its control, such as random flips",
}
_LETTERS_A_LINE = 14


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
    parts = blocks(group.attacks, group.defenses, measured)
    best = {attack: _best(group, attack, measured, metric) for attack in group.attacks}
    scale = damage_scale(metric)
    columns = max(len(block.defenses) for block in parts)
    heights = [len(block.attacks) * _LINE + _DEFENSES for block in parts]
    with style():
        figure = Figure(figsize=(max(5.4, _CELL * columns + _ATTACKS), sum(heights) + _AROUND), layout="constrained")
        canvas.set_title(figure, group.title(f"{scale.title}: attacks against defences"))
        grid = [row[0] for row in figure.subplots(len(parts), 1, squeeze=False, height_ratios=heights)]
        shades = scale.shades()
        images = [
            _block(axes, block, measured, metric, shades, best, columns)
            for axes, block in zip(grid, parts, strict=True)
        ]
        for axes, block in zip(grid, parts, strict=True):
            axes.set_yticks(range(len(block.attacks)), [_name(group, attack) for attack in block.attacks])
        grid[-1].set_xlabel("defence")
        bar = figure.colorbar(images[0], ax=grid, location="bottom", shrink=0.8, aspect=45, pad=0.02)
        lines = _bar(bar, scale.axis.replace("\n", " "), scale.ticks, _bounds(records, metric), shades)
        figure.supxlabel(_legend(figure, lines), fontsize=7)
    return Picture(group.file_name("heat_map"), figure)


def _block(
    axes: Axes,
    block: Block,
    measured: Measured,
    metric: str,
    shades: Normalize,
    best: Mapping[str, Sequence[Record]],
    columns: int,
) -> AxesImage:
    """Draw the cells of one block, as wide as those of the block with the most columns."""
    grid = [[_shown(measured.get((attack, defense)), metric) for defense in block.defenses] for attack in block.attacks]
    image = axes.imshow(
        grid, cmap=_colors().with_extremes(bad=_UNKNOWN), norm=shades, aspect="auto", interpolation="nearest"
    )
    for row, attack in enumerate(block.attacks):
        for column, defense in enumerate(block.defenses):
            _cell(axes, (column, row), measured.get((attack, defense)), metric, shades, best[attack])
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_xticks(
        range(len(block.defenses)),
        [wrapped(text(defense_words(defense)), _COLUMN_LETTERS) for defense in block.defenses],
        rotation=45,
        ha="right",
        rotation_mode="anchor",
    )
    axes.set_title(block.title, loc="left")
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    return image


def _cell(
    axes: Axes,
    place: tuple[int, int],
    record: Record | None,
    metric: str,
    shades: Normalize,
    best: Sequence[Record],
) -> None:
    column, row = place
    dark = False
    if record is not None and _is_broken(record):
        corner = (column - 0.5, row - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=_BROKEN, hatch="////", edgecolor=_HATCH, linewidth=0))
    elif record is not None:
        dark = _is_dark(float(shades(record.metrics[metric].value)))
    axes.text(
        column,
        row,
        _words(record, metric),
        ha="center",
        va="center",
        fontsize=6.8,
        linespacing=1.0,
        color="white" if dark else "black",
        fontweight="bold" if any(record is one for one in best) else "normal",
    )


def _best(group: PlotGroup, attack: str, measured: Measured, metric: str) -> list[Record]:
    """Return the records with the smallest number of a row, as it is shown; none where all are equal or none is ranked.

    Controls, and models that do not work without poison either, do not compete.
    """
    if group.best(attack) is None:
        return []
    row = [
        record
        for (own, _), record in measured.items()
        if own == attack and not is_control(record) and not _is_broken(record)
    ]
    shown = [float(cells.number(record.metrics[metric].value)) for record in row]
    if len(set(shown)) < 2:
        return []
    return [record for record, value in zip(row, shown, strict=True) if value == min(shown)]


def _is_broken(record: Record) -> bool:
    """Return whether a threshold is missed for the reason that the clean model does not work."""
    return any(judgement.reason for judgement in record.judgements)


def _name(group: PlotGroup, attack: str) -> str:
    words = wrapped(text(attack_phrase(attack)), _ROW_LETTERS)
    return f"{words} ‡" if attack in group.no_better_than_control else words


def _shown(record: Record | None, metric: str) -> float:
    return math.nan if record is None else record.metrics[metric].value


def _words(record: Record | None, metric: str) -> str:
    if record is None:
        return "–"
    sign = cells.mark(record).replace(cells.RUINED, _BROKEN_SIGN)
    return f"{cells.number(record.metrics[metric].value)}\n{sign}".rstrip()


def _bounds(records: Sequence[Record], metric: str) -> list[float]:
    """Return the different bounds that thresholds set to the metric."""
    return sorted({j.threshold.bound for record in records for j in record.judgements if j.threshold.metric == metric})


def _bar(bar: Colorbar, words: str, ticks: Sequence[float], bounds: Sequence[float], shades: Normalize) -> str:
    """Label the bar of colours and mark the thresholds; return what the legend says of them."""
    bar.set_label(words)
    bar.set_ticks(list(ticks), labels=[f"{tick:g}" for tick in ticks])
    bar.ax.minorticks_off()
    shown = [bound for bound in bounds if ticks[0] <= bound <= ticks[-1]]
    for bound in shown:
        bar.ax.axvline(bound, color="#0072B2", linewidth=2)
    if not shown:
        return ""
    numbers = " and ".join(f"{bound:g}" for bound in shown)
    return f"blue on the bar: the threshold{'s' if len(shown) > 1 else ''} {numbers}"


def _legend(figure: Figure, more: str) -> str:
    """Explain the signs that the picture has."""
    written = [words.get_text() for axes in figure.axes for words in (*axes.texts, *axes.get_yticklabels())]
    entries = [words for sign, words in SIGNS.items() if any(sign in each for each in written)]
    if any(words.get_fontweight() == "bold" for axes in figure.axes for words in axes.texts):
        entries.append("bold: the least of the row")
    return wrapped("; ".join(filter(None, [*entries, more])), int(_LETTERS_A_LINE * figure.get_figwidth()))


def _colors() -> Colormap:
    # Steps that the eye tells apart, which a table of colours can hold.
    return colormaps[_COLORS].resampled(_STEPS)


def _is_dark(shade: float) -> bool:
    red, green, blue, _ = _colors()(shade)
    return 0.299 * red + 0.587 * green + 0.114 * blue <= 0.5
