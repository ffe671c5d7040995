"""Drawing a single row of a data set."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes


def draw(axes: Axes, row: Mapping[str, Any]) -> None:
    """Draw what :func:`gradshape_bench.protocols.snapshot.snapshot` keeps of a row: an image, or bars."""
    pixels = np.frombuffer(bytes.fromhex(row["pixels"]), dtype=np.uint8).reshape(row["shape"])
    if pixels.ndim == 3 and len(pixels) in (1, 3):
        image = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.axis("off")
        return
    axes.stairs(pixels.reshape(-1) / 255, fill=True, color="#555555")
    axes.set_ylim(0, 1)
    axes.set_xticks([])
    axes.set_xlabel("features")
    axes.set_ylabel("value")
