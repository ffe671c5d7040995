"""What several published data sets have in common: tables of zeros and ones, and fixed draws from their rows."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gradshape.data.errors import DataError


def shuffled(count: int, seed: int) -> NDArray[np.intp]:
    """Return a permutation of ``range(count)`` that is the same with every version of numpy.

    NumPy keeps the raw stream of a bit generator stable for ever, but not what ``Generator`` draws from it.

    >>> shuffled(5, seed=0).tolist()
    [3, 2, 1, 0, 4]
    """
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable")


def table_bytes(*, features: int, rows: int) -> int:
    """Return how many bytes an archive with such a table may hold: twice its lines, and what lies beside it."""
    return 2 * rows * (2 * features + len('"100"') + len("\r\n")) + (1 << 20)


def binary_table(
    path: Path, text: bytes, *, features: int, classes: int, rows: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Parse lines of a class id in 1..``classes``, quoted or not, followed by ``features`` times ``,0`` or ``,1``.

    Returns:
        ``(rows, features)`` uint8 of 0 and 1, and ``(rows,)`` int64 class ids counted from 0.

    Raises:
        DataError: a line differs from this form, of which the error names the first, or the number of rows is another.
    """
    expected = f"{rows:,} lines of a class id 1..{classes} and {features} values, each 0 or 1"
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    if not text.endswith(b"\n"):
        text += b"\n"
    buffer = np.frombuffer(text, dtype=np.uint8)
    ends = np.flatnonzero(buffer == ord("\n"))
    if len(ends) != rows:
        raise DataError(path, f"has {len(ends):,} lines: expected {expected}")
    starts = np.concatenate(([0], ends[:-1] + 1))

    # The values take a fixed width, so they are cut out from the right; what is left of them is the class id.
    width = 2 * features
    values_start = ends - width
    _refuse(path, values_start - starts < 1, "has too few characters", expected)
    values = np.lib.stride_tricks.sliding_window_view(buffer, width)[values_start]
    x = values[:, 1::2] - np.uint8(ord("0"))
    malformed = (values[:, 0::2] != ord(",")).any(axis=1) | (x > 1).any(axis=1)
    _refuse(path, malformed, "has another number of values, or one that is neither 0 nor 1", expected)

    label_width = values_start - starts
    _refuse(path, label_width > len('"100"'), "has a longer class id", expected)
    y = np.zeros(rows, dtype=np.int64)
    strange = np.zeros(rows, dtype=bool)
    for position in range(int(label_width.max())):
        inside = position < label_width
        character = buffer[np.where(inside, starts + position, starts)].astype(np.int64)
        digit = (character >= ord("0")) & (character <= ord("9"))
        y = np.where(inside & digit, 10 * y + character - ord("0"), y)
        strange |= inside & ~digit & (character != ord('"'))
    _refuse(path, strange | (y < 1) | (y > classes), f"has a class id outside 1..{classes}", expected)
    return x, y - 1


def _refuse(path: Path, bad: NDArray[np.bool_], problem: str, expected: str) -> None:
    if bad.any():
        raise DataError(path, f"line {int(bad.argmax()) + 1} {problem}: expected {expected}")
