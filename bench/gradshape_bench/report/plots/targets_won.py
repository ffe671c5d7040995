"""Targets that an attack wins as the clipping norm shrinks and as the noise grows, and the cost of that.

Hong et al. 2020, Fig. 5 (one poison row) and Fig. 6 (several).
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes

from gradshape.metrics import Estimate
from gradshape_bench.records.record import Record
from gradshape_bench.report.plots import canvas
from gradshape_bench.report.plots.picture import Picture
from gradshape_bench.report.plots.plot_group import VANILLA, PlotGroup, plot_groups
from gradshape_bench.report.plots.published_marks import published_marks
from gradshape_bench.report.plots.style import Look, nth_look, style, text
from gradshape_bench.report.words import attack_phrase

# Name of the file, and words for the title.
FIGURES = {
    "one_shot": ("fig5_one_shot", "Targets won by one poison row"),
    "multi_poison": ("fig6_multi_poison", "Targets won by several poison rows"),
}
SHARES = {
    "success_rate": ("targets won", nth_look(0)),
    "success_rate_control": ("targets won by clean rows (control)", Look(nth_look(3).color, nth_look(3).marker, ":")),
    "utility_loss": ("accuracy lost without poison", Look(nth_look(1).color, nth_look(1).marker, "--")),
}
POISONS = "poisons_needed"
_NOTHING = "no\ndefence"
_NUMBER = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_SHAPED = re.compile(rf"(?P<kind>dp_[^\W_]+)_c(?P<norm>{_NUMBER})(?:_s(?P<std>{_NUMBER}))?(?P<more>_x{_NUMBER})?")


@dataclass(frozen=True)
class Shaped:
    """The settings of training with clipped gradients, read from a label.

    Attributes:
        family: the label without its numbers; settings of one family can be compared.
        norm: clipping norm.
        std: standard deviation of the noise on the sum of the clipped gradients.
    """

    family: str
    norm: float
    std: float

    @classmethod
    def of(cls, label: str) -> "Shaped | None":
        """Read a label; ``None`` if it is of another kind.

        >>> Shaped.of("dp_adam_c4_s0.01_x2"), Shaped.of("vanilla")
        (Shaped(family='dp_adam_x2', norm=4.0, std=0.01), None)
        """
        match = _SHAPED.fullmatch(label)
        if match is None:
            return None
        return cls(f"{match['kind']}{match['more'] or ''}", float(match["norm"]), float(match["std"] or 0))


@dataclass(frozen=True)
class Sweep:
    """Records in the order of one setting that varies, and their names on the axis."""

    label: str
    names: tuple[str, ...]
    records: tuple[Record, ...]


def pictures(records: Sequence[Record]) -> Iterator[Picture]:
    """Draw a picture for each group, attack and family of settings: a row over the norm, one over each norm's noise."""
    for group in plot_groups(record for record in records if experiment(record) in FIGURES):
        for attack in group.attacks:
            families = _families(group, attack)
            for family, settings in families.items():
                sweeps = [s for s in _sweeps(group.find(attack, VANILLA), settings) if _is_curve(s, "success_rate")]
                if sweeps:
                    yield _picture(group, attack, sweeps, *([family] if len(families) > 1 else []))


def experiment(record: Record) -> str | None:
    """Return which of :data:`FIGURES` a record belongs to; ``None`` for none."""
    if "success_rate_control" not in record.metrics:
        return None
    return next((name for name in FIGURES if f"{record.protocol}_".startswith(f"{name}_")), None)


def known(record: Record, metric: str) -> Estimate | None:
    """Return the estimate of a metric; ``None`` for a rate over no targets."""
    found = record.metrics.get(metric)
    return None if found is None or found.n == 0 else found


def _families(group: PlotGroup, attack: str) -> Mapping[str, Mapping[Shaped, Record]]:
    found: defaultdict[str, dict[Shaped, Record]] = defaultdict(dict)
    for record in group.records:
        shaped = Shaped.of(record.defense)
        if record.attack == attack and shaped is not None:
            found[shaped.family].setdefault(shaped, record)
    return found


def _sweeps(vanilla: Record | None, settings: Mapping[Shaped, Record]) -> Iterator[Sweep]:
    """Yield the sweep over norms without noise and those over the noise of each norm, from plain training on."""
    first = [] if vanilla is None else [(_NOTHING, vanilla)]
    quiet = sorted((shaped for shaped in settings if not shaped.std), key=lambda shaped: -shaped.norm)
    points = [*first, *((f"{shaped.norm:g}", settings[shaped]) for shaped in quiet)]
    if quiet and len(points) > 1:
        yield _sweep("clipping norm, without noise", points)
    for norm in sorted({shaped.norm for shaped in settings if shaped.std}, reverse=True):
        loud = sorted((shaped for shaped in settings if shaped.norm == norm), key=lambda shaped: shaped.std)
        points = [*first, *((f"{shaped.std:g}", settings[shaped]) for shaped in loud)]
        if len(points) > 1:
            yield _sweep(f"noise, clipped to {norm:g}", points)


def _sweep(label: str, points: Sequence[tuple[str, Record]]) -> Sweep:
    return Sweep(label, tuple(name for name, _ in points), tuple(record for _, record in points))


def _picture(group: PlotGroup, attack: str, sweeps: Sequence[Sweep], *family: str) -> Picture:
    name, words = FIGURES[str(experiment(sweeps[0].records[0]))]
    counted = any(_is_curve(sweep, POISONS) for sweep in sweeps)
    title = ": ".join([words, text(", ".join([str(attack_phrase(attack)), *map(_family_words, family)]))])
    with style():
        figure, grid = canvas.panels(
            len(sweeps), 1 + counted, title=group.title(title), width=4.1, legend_rows=4, sharey="col"
        )
        handles: list[Artist] = []
        for row, sweep in zip(grid, sweeps, strict=True):
            for metric, (label, look) in SHARES.items():
                handles += _curve(row[0], sweep, metric, look, label=label)
            if counted and _is_curve(sweep, POISONS):
                handles += _curve(row[1], sweep, POISONS, nth_look(2), label="poison rows needed")
                row[1].set_ylabel("poison rows needed\n(mean over targets won)")
            elif counted:
                row[1].set_visible(False)
            row[0].set_ylabel("share of the targets,\nor of the accuracy")
            row[0].set_ylim(-0.05, 1.05)
            for panel in row:
                panel.set_xticks(range(len(sweep.names)), sweep.names)
                panel.set_xlim(-0.4, len(sweep.names) - 0.6)
                panel.set_xlabel(sweep.label)
        if counted:
            # Once all is drawn, as the panels share the axis.
            grid[0][1].set_ylim(bottom=0)
        canvas.legend(figure, sorted(handles, key=lambda handle: str(handle.get_label()).startswith("published")))
    return Picture(group.file_name(name, attack, *family), figure)


def _is_curve(sweep: Sweep, metric: str) -> bool:
    """Return whether the metric is known at two places, so that there is more to see than a point."""
    return sum(known(record, metric) is not None for record in sweep.records) > 1


def _family_words(family: str) -> str:
    """Return words for the label of a shaped training without its norms.

    >>> _family_words("dp_adam_x2")
    'Adam at rate × 2'
    """
    kind, _, rate = family.partition("_x")
    optimizer = {"dp_adam": "Adam", "dp_sgd": "SGD"}.get(kind, kind)
    return f"{optimizer} at rate × {rate}" if rate else optimizer


def _curve(panel: Axes, sweep: Sweep, metric: str, look: Look, *, label: str) -> list[Artist]:
    values = [known(record, metric) for record in sweep.records]
    if not any(values):
        return []
    places = [float(place) for place in range(len(values))]
    handles: list[Artist] = [canvas.curve(panel, places, values, look, label=label)]
    if metric in SHARES:
        handles += canvas.seeds(panel, places, values, look)
    for place, record in zip(places, sweep.records, strict=True):
        handles += canvas.draw_published(panel, place, published_marks(record, metric), look)
    return handles
