"""Data sets of the user's own: ``.npz`` files with ``x_train``, ``y_train``, ``x_test`` and ``y_test``.

In place of ``x_train`` and ``x_test`` they may hold token counts, see :mod:`gradshape.data._token_counts`.
"""

import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradshape.data import _token_counts
from gradshape.data._formats import impostor
from gradshape.data.errors import DataError
from gradshape.data.source import RawSplit, Source

_ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def open_arrays(path: Path, names: tuple[str, ...], *others: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Read the named arrays of an ``.npz`` file; nothing in it is unpickled.

    Args:
        path: the file.
        names: names of the arrays.
        others: further lists of names. The list of which the file lacks the fewest is read.

    Raises:
        DataError: the file is no ``.npz`` file, is damaged, lacks an array or holds one of Python objects.
    """
    expected = f"an .npz file with the arrays {', '.join(names)}"
    try:
        with path.open("rb") as file:
            found = impostor(file.read(512))
        if found or not zipfile.is_zipfile(path):
            raise DataError(path, f"{found or 'is no zip file, or a truncated one'}: expected {expected}")
        with np.load(path, allow_pickle=False) as archive:
            names = min((names, *others), key=lambda names: len(set(names) - set(archive.files)))
            lacking = [name for name in names if name not in archive.files]
            if lacking:
                expected = f"an .npz file with the arrays {', '.join(names)}"
                have = ", ".join(archive.files) or "none"
                raise DataError(path, f"lacks {', '.join(lacking)} (it has {have}): expected {expected}")
            return {name: _numbers(path, name, archive) for name in names}
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(path, f"is damaged ({error}): expected {expected}") from error
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror or error}): expected {expected}") from error


def _numbers(path: Path, name: str, archive: Any) -> NDArray[Any]:
    try:
        array = archive[name]
    except DataError:
        raise
    except ValueError as error:
        # Rebuilding Python objects would run code from the file.
        if "allow_pickle" in str(error):
            problem = f"array {name} holds Python objects, which are pickled and never loaded: expected numbers"
        else:
            problem = f"array {name} cannot be read ({error}): expected numbers"
        raise DataError(path, problem) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise DataError(path, f"array {name} has dtype {getattr(array, 'dtype', None)}: expected numbers")
    return array


def source(path: Path) -> Source:
    """Return the source that reads ``path``; shape and classes are known only after reading.

    ``x`` may have any type of numbers in [0, 1], ``y`` any integer type; classes are counted from 0
    to the largest label. The data set is named after the file, without its suffix. Token counts become 1 for a token
    that is present and 0 for one that is not.
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
    low, high = x.min(), x.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(path, f"x_{split} has a value that is not finite: expected values in [0, 1]")
    if low < 0 or high > 1:
        hint = " (divide bytes by 255)" if x.dtype == np.uint8 else ""
        if x.dtype.kind in "iu" and low >= 0:
            hint += f" (are they token counts? then name them counts_{split})"
        raise DataError(path, f"x_{split} lies in [{low:g}, {high:g}]: expected values in [0, 1]{hint}")
    if y.min() < 0:
        raise DataError(path, f"y_{split} has a label {y.min()}: expected class ids counted from 0")
    return RawSplit(x.astype(np.float32, copy=False), y)
