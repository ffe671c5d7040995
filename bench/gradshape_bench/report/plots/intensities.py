"""Damage of attacks over the amount of poison, with a curve for each defence.

Hong et al. 2020, Fig. 4 a, b, d and e.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes

from gradshape_bench.records.record import Record
from gradshape_bench.report.headline import headline
from gradshape_bench.report.plots import canvas
from gradshape_bench.report.plots.picture import Picture
from gradshape_bench.report.plots.plot_group import VANILLA, PlotGroup, defense_groups, intensity, plot_groups
from gradshape_bench.report.plots.published_marks import published_marks
from gradshape_bench.report.plots.style import looks, style, text

WORDS = {
    "rad": "relative accuracy drop\nby the poison (share)",
    "rad_vs_vanilla": "relative accuracy drop\nvs. clean vanilla (share)",
    "mse_ratio": "test error,\ntimes that without poison",
    "mse_ratio_vs_vanilla": "test error,\ntimes that of clean vanilla",
    "backdoor_rate": "triggered rows taken for\nthe claimed class (share)",
    "success_rate": "targets won\n(share)",
}
# Value of a metric where poison does nothing, if not 0.
HARMLESS = {"mse_ratio": 1.0, "mse_ratio_vs_vanilla": 1.0}
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
    """Return records with the metric by family of attacks, then by defence and intensity; at least two intensities."""
    found: defaultdict[str, dict[tuple[str, float], Record]] = defaultdict(dict)
    for record in group.records:
        split = intensity(record.attack)
        # The number in the label of such an attack counts candidates and is no share of the rows.
        if split is not None and metric in record.metrics and "success_rate_control" not in record.metrics:
            found[split[0]].setdefault((record.defense, split[1]), record)
    return {name: family for name, family in found.items() if len({percent for _, percent in family}) > 1}


def _picture(group: PlotGroup, metric: str, families: Mapping[str, AttackFamily]) -> Picture:
    measured = {defense for family in families.values() for defense, _ in family}
    panels = defense_groups([defense for defense in group.defenses if defense in measured])
    with style():
        figure, grid = canvas.panels(
            len(families),
            len(panels),
            title=group.title(f"{text(metric)} over the amount of poison"),
            height=2.5,
            legend_rows=max(map(len, panels)) + 2,
            sharex=True,
            sharey="row",
        )
        for column, labels in enumerate(panels):
            handles: list[Artist] = []
            for row, (name, family) in zip(grid, families.items(), strict=True):
                handles += _panel(row[column], metric, name, family, labels)
            canvas.panel_legend(grid[-1][column], handles)
            grid[-1][column].set_xlabel("poison (% of the clean training rows)")
        for row in grid:
            row[0].set_ylabel(WORDS.get(metric, text(metric)))
    return Picture(group.file_name(f"fig4_{metric}"), figure)


def _panel(axes: Axes, metric: str, name: str, family: AttackFamily, labels: Sequence[str]) -> list[Artist]:
    """Draw one family of attacks against some defences and plain training; return what the legend shows."""
    axes.set_title(text(name))
    axes.axhline(HARMLESS.get(metric, 0.0), color="#aaaaaa", linewidth=0.8, zorder=1)
    # Leave room for published numbers at the edge.
    axes.margins(y=0.12)
    percents = sorted({percent for _, percent in family})
    look_by_label = looks(labels, reference=VANILLA)
    handles: list[Artist] = []
    compared: list[Artist] = []
    for defense in (VANILLA, *labels):
        cases = [family.get((defense, percent)) for percent in percents]
        values = [None if case is None else case.metrics[metric] for case in cases]
        if not any(values):
            continue
        handles.append(canvas.curve(axes, percents, values, look_by_label[defense], label=text(defense)))
        for percent, case in zip(percents, cases, strict=True):
            if case is not None:
                compared += canvas.draw_published(axes, percent, published_marks(case, metric), look_by_label[defense])
    return handles + compared
