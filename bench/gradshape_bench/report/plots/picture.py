"""Pictures and the files that they are saved to."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from gradshape_bench.report.plots.style import style

# Metadata that would differ between two runs, by format.
_METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}
FORMATS = tuple(_METADATA)
# Colours of a PNG: a chart has few, and a table of them takes a third of the bytes.
_COLORS = 256
_FREQUENT = 160
# What makes one number of a colour.
_BASES = np.array([1 << 16, 1 << 8, 1])


@dataclass(frozen=True, eq=False)
class Picture:
    """A drawn figure.

    Attributes:
        name: name of its files, without an ending.
        figure: the figure, which is never shown, so that no display is needed.
    """

    name: str
    figure: Figure

    def save(self, folder: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
        """Write the picture into ``folder``, which is created if missing; readers see whole files only.

        Args:
            folder: where the files go.
            formats: ``png``, ``svg`` or both.

        Returns:
            The paths of the files, one for each format.

        Raises:
            OSError: a file cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for ending in formats:
            path = folder / f"{self.name}.{ending}"
            _write(path, self._encoded(ending))
            paths.append(path)
            # Computing the layout takes longest, and both formats share it.
            self.figure.set_layout_engine("none")
        return paths

    def _encoded(self, ending: str) -> bytes:
        buffer = BytesIO()
        with style():
            self.figure.savefig(buffer, format=ending, metadata=_METADATA[ending])
        return _with_few_colors(buffer) if ending == "png" else buffer.getvalue()


def _with_few_colors(png: BytesIO) -> bytes:
    """Return the picture with a table of colours: the most frequent ones, and those that are least like these.

    Every other colour becomes the nearest one of the table.
    """
    with Image.open(png) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=np.int64)
    codes, places, counts = np.unique(pixels @ _BASES, return_inverse=True, return_counts=True)
    colors = codes[:, None] // _BASES % 256
    table: list[NDArray[np.int64]] = []
    nearest = np.zeros(len(colors), dtype=np.uint8)
    distance = np.full(len(colors), np.inf)
    frequent = np.lexsort((codes, -counts))[:_FREQUENT]
    while len(table) < _COLORS and distance.any():
        chosen = frequent[len(table)] if len(table) < len(frequent) else np.argmax(distance)
        own = np.square(colors - colors[chosen]).sum(1)
        nearest[own < distance] = len(table)
        distance = np.minimum(own, distance)
        table.append(colors[chosen])
    indexed = Image.fromarray(nearest[places].reshape(pixels.shape[:2]), mode="P")
    indexed.putpalette(np.array(table, dtype=np.uint8).tobytes())
    smaller = BytesIO()
    indexed.save(smaller, format="png", optimize=True)
    return smaller.getvalue()


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
