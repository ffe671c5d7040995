"""Data sets of the user's own: ``.npz`` files with ``x_train``, ``y_train``, ``x_test`` and ``y_test``.

In place of ``x_train`` and ``x_test`` they may hold token counts, see :mod:`gradshape.data._token_counts`.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradshape.data import _token_counts
from gradshape.data._arrays import open_arrays
from gradshape.data._checks import outside, rounding
from gradshape.data.errors import DataError
from gradshape.data.source import RawSplit, Source

# What to do with features of other ranges.
_SCALING = "scale by the least and the largest value of the train rows, (x - low) / (high - low), and clip test rows"
_ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def source(path: Path) -> Source:
    """Return the source that reads ``path``; shape and classes are known only after reading.

    ``x`` may have any type of numbers in [0, 1], ``y`` any integer type; classes are counted from 0
    to the largest label, and each has train rows. The data set is named after the file, without its suffix. Token
    counts become 1 for a token that is present and 0 for one that is not.
    """
    return Source(name=path.stem, description=f"arrays of {path.name}", read=partial(_read, path), path=path)


def _read(path: Path, folder: Path) -> tuple[RawSplit, RawSplit]:
    arrays = open_arrays(path, _ARRAYS, _token_counts.DENSE, _token_counts.SPARSE)
    if "x_train" not in arrays:
        arrays |= {f"x_{split}": _token_counts.presence(path, arrays, split) for split in ("train", "test")}
    return _rows(path, arrays, "train"), _rows(path, arrays, "test")


def _rows(path: Path, arrays: dict[str, NDArray[Any]], split: str) -> RawSplit:
    x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
    if y.dtype.kind not in "iu":
        raise DataError(path, f"array y_{split} has dtype {y.dtype}: expected integer class ids")
    if y.ndim != 1 or x.ndim < 2 or len(x) != len(y) or x.size == 0:
        raise DataError(
            path, f"x_{split} has shape {x.shape} and y_{split} {y.shape}: expected (N, ...) and (N,), N > 0"
        )
    if x.dtype.kind in "iu" and (x.min() < 0 or x.max() > 1):
        hint = "divide bytes by 255" if x.dtype == np.uint8 else "divide by the largest possible value"
        if x.min() >= 0:
            hint += f"; or are they token counts? then name them counts_{split}"
        raise DataError(path, f"x_{split} lies in [{x.min()}, {x.max()}]: expected values in [0, 1] ({hint})")
    problem = outside(x, slack=rounding(x.dtype)) if x.dtype.kind == "f" else None
    if problem is not None:
        hint = f" ({_SCALING})" if np.isfinite(x).all() else ""
        raise DataError(path, f"x_{split} {problem}: expected values in [0, 1]{hint}")
    return RawSplit(x, y)
