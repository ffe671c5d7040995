"""The regions of a plane in which models decide for each class, and how sure they are.

Hong et al. 2020, Appendix D, Fig. 10.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from gradshape_bench.records.record import Record
from gradshape_bench.report import cells
from gradshape_bench.report.plots import canvas
from gradshape_bench.report.plots.picture import Picture
from gradshape_bench.report.plots.plot_group import PlotGroup, plot_groups
from gradshape_bench.report.plots.published_marks import published_marks
from gradshape_bench.report.plots.style import nth_look, style, text
from gradshape_bench.report.words import defense_words

PROTOCOL = "boundary"
_METRIC = "accuracy_clean"
_COLUMNS = 4
# Share of a class' colour where the model is certain; where it is not sure at all the region is white.
_DEEPEST = 0.65
_MARKERS = ("o", "^", "s", "D")


def pictures(records: Sequence[Record]) -> Iterator[Picture]:
    """Draw a picture for each group: a panel with the training rows, and one for each defence."""
    for group in plot_groups(record for record in records if record.protocol.partition("_")[0] == PROTOCOL):
        shown = [record for record in group.records if _kept(record)]
        parts = [shown[i : i + _COLUMNS - 1] for i in range(0, len(shown), _COLUMNS - 1)]
        for number, part in enumerate(parts, start=1):
            yield _picture(group, part, *([f"part{number}"] if len(parts) > 1 else []))


def _kept(record: Record) -> Mapping[str, Any]:
    """Return what the protocol keeps for a picture; empty if there is none."""
    found = record.details.get("picture")
    return found if isinstance(found, Mapping) and found.get("classes") and found.get("train") else {}


def _picture(group: PlotGroup, records: Sequence[Record], *part: str) -> Picture:
    with style():
        figure, grid = canvas.panels(
            1,
            1 + len(records),
            title=group.title("Decisions of models trained on clean data\nthe paler a class' colour, the less sure"),
            width=2.6,
            height=3.3,
            sharex=True,
            sharey=True,
        )
        rows, *panels = grid[0]
        handles = _rows(rows, _kept(records[0]), size=7)
        rows.set_title("training rows")
        rows.set_ylabel("second feature")
        for panel, record in zip(panels, records, strict=True):
            _regions(panel, _kept(record))
            _rows(panel, _kept(record), size=1.5)
            panel.set_title(_title(record))
        for panel in grid[0]:
            panel.set(aspect="auto", box_aspect=1, xlim=(0, 1), ylim=(0, 1), xlabel="first feature")
        canvas.legend(figure, handles)
    return Picture(group.file_name("fig10_boundary", *part), figure)


def _title(record: Record) -> str:
    accuracy, name = record.metrics.get(_METRIC), text(defense_words(record.defense))
    if accuracy is None:
        return name
    stated = " / ".join(f"{mark.words} {mark.value:g}" for mark in published_marks(record, _METRIC))
    return f"{name}\ntest accuracy {cells.number(accuracy.value)}{f' ({stated})' if stated else ''}"


def _rows(panel: Axes, kept: Mapping[str, Any], *, size: float) -> list[Artist]:
    """Draw the training rows; return what the legend shows."""
    handles: list[Artist] = []
    for place, label in enumerate(_classes(kept)):
        color, marker = nth_look(place).color, _MARKERS[place % len(_MARKERS)]
        points = [(x, y) for x, y, own_label in kept["train"] if own_label == label]
        panel.scatter(
            [x for x, _ in points], [y for _, y in points], s=size, color=color, marker=marker, linewidths=0, zorder=3
        )
        handles.append(Line2D([], [], color=color, marker=marker, linestyle="none", label=f"class {label}"))
    return handles


def _classes(kept: Mapping[str, Any]) -> list[int]:
    """Return the classes of the rows and those that the model decides for."""
    return sorted({int(label) for _, _, label in kept["train"]} | set(_cells(kept["classes"]).tolist()))


def _cells(values: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(bytes.fromhex(values), dtype=np.uint8)


def _regions(panel: Axes, kept: Mapping[str, Any]) -> None:
    """Draw the plane in the classes' colours, and a line where one class ends."""
    side = kept["side"]
    classes, confidence = (_cells(kept[name]).reshape(side, side) for name in ("classes", "confidence"))
    known = _classes(kept)
    chance = 1 / max(2, len(known))
    sure = np.clip((confidence / 255 - chance) / (1 - chance), 0, 1)[..., None] * _DEEPEST
    colors = np.array([to_rgb(nth_look(known.index(int(label))).color) for label in classes.flatten()])
    image = 1 - sure * (1 - colors.reshape(side, side, 3))
    panel.imshow(image, origin="lower", extent=(0, 1, 0, 1), interpolation="nearest", zorder=1)
    centres = (np.arange(side) + 0.5) / side
    for label in known[1:]:
        if 0 < (classes == label).mean() < 1:
            panel.contour(centres, centres, classes == label, levels=[0.5], colors="black", linewidths=0.8, zorder=2)
