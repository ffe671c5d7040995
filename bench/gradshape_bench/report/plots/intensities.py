"""Damage of attacks over the amount of poison, with a curve for each defence.

Hong et al. 2020, Fig. 4 a, b, d and e.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes

from gradshape_bench.records.record import Record
from gradshape_bench.report.headline import headline
from gradshape_bench.report.plots import canvas
from gradshape_bench.report.plots.damage import damage_scale
from gradshape_bench.report.plots.picture import Picture
from gradshape_bench.report.plots.plot_group import VANILLA, PlotGroup, defense_groups, intensity, plot_groups
from gradshape_bench.report.plots.published_marks import published_marks
from gradshape_bench.report.plots.style import looks, style, text
from gradshape_bench.report.words import attack_phrase, defense_words

AttackFamily = Mapping[tuple[str, float], Record]


def pictures(records: Sequence[Record]) -> Iterator[Picture]:
    """Draw two pictures for each group, of the damage and of the total, with a row for each family of attacks."""
    for group in plot_groups(records):
        for metric in _metrics(group):
            families = _families(group, metric)
            if families:
                yield _picture(group, metric, families)


def _metrics(group: PlotGroup) -> list[str]:
    shown = [names for names in map(headline, group.records) if names is not None and names.ranks]
    return list(dict.fromkeys(metric for names in shown for metric in (names.total, names.damage) if metric))


def _families(group: PlotGroup, metric: str) -> dict[str, AttackFamily]:
    """Return records with the metric by family of attacks, then by defence and intensity.

    A defence that met a family at one intensity only has a point there and no curve, and is left out.
    """
    found: defaultdict[str, dict[tuple[str, float], Record]] = defaultdict(dict)
    for record in group.records:
        split = intensity(record.attack)
        # The number in the label of such an attack counts candidates and is no share of the rows.
        if split is not None and metric in record.metrics and "success_rate_control" not in record.metrics:
            found[split[0]].setdefault((record.defense, split[1]), record)
    curves = {name: _with_curves(family) for name, family in found.items()}
    return {name: family for name, family in curves.items() if family}


def _with_curves(family: AttackFamily) -> AttackFamily:
    met = Counter(defense for defense, _ in family)
    return {key: record for key, record in family.items() if met[key[0]] > 1}


def _picture(group: PlotGroup, metric: str, families: Mapping[str, AttackFamily]) -> Picture:
    measured = {defense for family in families.values() for defense, _ in family}
    panels = defense_groups([defense for defense in group.defenses if defense in measured])
    scale = damage_scale(metric)
    with style():
        figure, grid = canvas.panels(
            len(families),
            len(panels),
            title=group.title(f"{scale.title} over the amount of poison"),
            height=2.5,
            legend_rows=max(map(len, panels)) + 3,
            sharex=True,
            sharey="row",
        )
        for column, labels in enumerate(panels):
            handles: list[Artist] = []
            drawn: list[Axes] = []
            below: Axes | None = None
            for row, family in zip(grid, families.values(), strict=True):
                if labels and not any(defense in labels for defense, _ in family):
                    row[column].set_axis_off()
                    below = below or (row[column] if drawn else None)
                    continue
                below = None
                handles += _panel(row[column], metric, family, labels)
                drawn.append(row[column])
            canvas.panel_legend(drawn[-1], handles, within=below)
            drawn[-1].set_xlabel("poison (% of the clean training rows)")
            drawn[-1].tick_params(labelbottom=True)
        for row in grid:
            next(panel for panel in row if panel.axison).set_ylabel(scale.axis)
    return Picture(group.file_name(f"fig4_{metric}"), figure)


def _panel(axes: Axes, metric: str, family: AttackFamily, labels: Sequence[str]) -> list[Artist]:
    """Draw one family of attacks against some defences and plain training; return what the legend shows."""
    attack = next(iter(family.values())).attack
    canvas.title_panel(axes, text(attack_phrase(attack).without_amount))
    axes.axhline(damage_scale(metric).harmless, color="#aaaaaa", linewidth=0.8, zorder=1)
    # Leave room for published numbers at the edge.
    axes.margins(y=0.12)
    percents = sorted({percent for _, percent in family})
    look_by_label = looks(labels, reference=VANILLA)
    # The bars of all curves stand side by side, within the smallest step and close to their points.
    steps = [after - before for before, after in itertools.pairwise(percents)]
    room = 0.8 * min(*steps, (percents[-1] - percents[0]) / 40) if steps else 0.0
    handles: list[Artist] = []
    compared: list[Artist] = []
    for place, defense in enumerate((VANILLA, *labels)):
        cases = [family.get((defense, percent)) for percent in percents]
        values = [None if case is None else case.metrics[metric] for case in cases]
        if not any(values):
            continue
        name = text(defense_words(defense))
        beside = (place / max(1, len(labels)) - 0.5) * room
        handles.append(canvas.curve(axes, percents, values, look_by_label[defense], label=name, bars=beside))
        compared += canvas.seeds(axes, percents, values, look_by_label[defense])
        for percent, case in zip(percents, cases, strict=True):
            if case is not None:
                compared += canvas.draw_published(axes, percent, published_marks(case, metric), look_by_label[defense])
    # The published numbers stand last in the legend.
    return handles + sorted(compared, key=lambda handle: handle.get_label() != canvas.SEEDS)
