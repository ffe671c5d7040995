"""Utility on clean data against the privacy that a training spends.

Hong et al. 2020, Appendix F, Fig. 12.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes

from gradshape_bench.records.privacy_ledger import ledger
from gradshape_bench.records.record import Record
from gradshape_bench.report import tradeoff
from gradshape_bench.report.plots import canvas
from gradshape_bench.report.plots.picture import Picture
from gradshape_bench.report.plots.plot_group import VANILLA, PlotGroup, plot_groups
from gradshape_bench.report.plots.published_marks import published_marks
from gradshape_bench.report.plots.style import BLACK, Look, nth_look, style, text
from gradshape_bench.report.words import defense_words

METRIC = "accuracy_clean"
EPSILONS = {"nominal_epsilon": "nominal ε", "epsilon": "ε that holds"}
_TICKS = 6


@dataclass(frozen=True)
class _Axis:
    """Decades of epsilon, with places for 0 and for infinity, which is ``None`` in a ledger."""

    first: int
    last: int
    zero: bool

    @classmethod
    def over(cls, epsilons: Sequence[float | None]) -> "_Axis":
        exponents = [math.log10(epsilon) for epsilon in epsilons if epsilon]
        first, last = (math.floor(min(exponents)), math.ceil(max(exponents))) if exponents else (0, 1)
        return cls(first, max(last, first + 1), 0 in epsilons)

    @property
    def gap(self) -> float:
        return max(1.0, (self.last - self.first) / 8)

    def place(self, epsilon: float | None) -> float:
        if epsilon is None:
            return self.last + self.gap
        return math.log10(epsilon) if epsilon else self.first - self.gap

    def draw(self, axes: Axes) -> None:
        step = -(-(self.last - self.first) // _TICKS)
        decades = [*range(self.first, self.last + 1, step)]
        ticks = {self.place(0.0): "0"} if self.zero else {}
        ticks |= {float(decade): f"$10^{{{decade}}}$" for decade in decades} | {self.place(None): "∞"}
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.set_xlim(min(ticks) - self.gap / 2, max(ticks) + self.gap / 2)
        axes.axvline(self.last + self.gap / 2, color="#aaaaaa", linewidth=0.8, zorder=1)
        if self.zero:
            axes.axvline(self.first - self.gap / 2, color="#aaaaaa", linewidth=0.8, zorder=1)


def pictures(records: Sequence[Record]) -> Iterator[Picture]:
    """Draw a picture for each group without an attack whose records have a ledger."""
    for group in plot_groups(filter(tradeoff.concerns, records)):
        noisy = [record for record in group.records if ledger(record).get("noise_std") and METRIC in record.metrics]
        if noisy:
            yield _picture(group)


def _picture(group: PlotGroup) -> Picture:
    spent = [record for record in group.records if ledger(record) and METRIC in record.metrics]
    curves = _curves(record for record in spent if record.defense != VANILLA)
    axis = _Axis.over([ledger(record).get(name) for record in spent for name in EPSILONS])
    deltas = " / ".join(sorted({f"{ledger(record)['delta']:g}" for record in spent if "delta" in ledger(record)}))
    with style():
        figure, grid = canvas.panels(
            1, len(EPSILONS), title=group.title("Utility against privacy"), height=2.8, sharex=True, sharey=True
        )
        handles: list[Artist] = []
        compared: list[Artist] = []
        for panel, (name, words) in zip(grid[0], EPSILONS.items(), strict=True):
            for place, (norm, at_norm) in enumerate(curves.items()):
                label = "no clipping" if norm is None else f"clip to {norm:g}"
                handles += _curve(panel, axis, name, at_norm, nth_look(place), label=label)
            for record in group.records:
                if record.defense == VANILLA and METRIC in record.metrics:
                    handles.append(_level(panel, record))
                look = next(
                    (nth_look(place) for place, at_norm in enumerate(curves.values()) if record in at_norm), _PLAIN
                )
                where = axis.place(ledger(record).get(name))
                compared += canvas.draw_published(panel, where, published_marks(record, METRIC), look)
            axis.draw(panel)
            panel.set_xlabel(f"{words} (δ = {text(deltas)})" if deltas else words)
        grid[0][0].set_ylabel("test accuracy on clean data\n(share correct)")
        handles.sort(key=lambda handle: handle.get_label() == canvas.SEEDS)
        canvas.legend(figure, [*handles, *compared])
    return Picture(group.file_name("fig12_privacy"), figure)


_PLAIN = Look(BLACK, "o", "--")


def _curves(records: Iterator[Record]) -> Mapping[float | None, list[Record]]:
    """Return the records by clipping norm, the weakest first; ``None`` is no bound."""
    by_norm: defaultdict[float | None, list[Record]] = defaultdict(list)
    for record in records:
        by_norm[ledger(record).get("sensitivity")].append(record)
    return dict(sorted(by_norm.items(), key=lambda item: -math.inf if item[0] is None else -item[0]))


def _curve(panel: Axes, axis: _Axis, name: str, records: Sequence[Record], look: Look, *, label: str) -> list[Artist]:
    """Draw points with error bars, joined where epsilon is a finite number; return what the legend shows."""
    measured = [(axis.place(ledger(record).get(name)), record.metrics[METRIC]) for record in records]
    points = sorted(measured, key=lambda point: point[0])
    joined = [(place, estimate.value) for place, estimate in points if axis.first <= place <= axis.last]
    panel.plot([x for x, _ in joined], [y for _, y in joined], color=look.color, linestyle=look.line)
    for place, estimate in points:
        if estimate.low is not None and estimate.high is not None:
            panel.plot([place, place], [estimate.low, estimate.high], color=look.color, linewidth=0.9)
    places, values = [place for place, _ in points], [estimate.value for _, estimate in points]
    (line,) = panel.plot(
        places,
        values,
        color=look.color,
        marker=look.marker,
        linestyle="none",
        markeredgecolor="white",
        markeredgewidth=0.4,
        label=label,
    )
    return [line, *canvas.seeds(panel, places, [estimate for _, estimate in points], look)]


def _level(panel: Axes, record: Record) -> Artist:
    """Draw the level of plain training, which has no epsilon."""
    estimate = record.metrics[METRIC]
    if estimate.low is not None and estimate.high is not None:
        panel.axhspan(estimate.low, estimate.high, color=BLACK, alpha=0.08, linewidth=0)
    return panel.axhline(estimate.value, color=BLACK, linestyle="--", linewidth=1, label=text(defense_words(VANILLA)))
