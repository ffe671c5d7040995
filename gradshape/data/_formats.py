"""Reading of files that may be damaged. Every failure is a ``DataError`` that names the file."""

import gzip
import tarfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gradshape.data.errors import DataError

# What the standard library raises for damaged gzip and tar files.
_DAMAGED = (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error)


def impostor(head: bytes) -> str | None:
    """Judge by a file's first bytes what was saved in place of data; return ``None`` if nothing gives it away."""
    start = head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "is empty"
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<body", b"<?xml")):
        return "looks like a web page that was saved as data"
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the data it points to"
    return None


def read_bytes(path: Path, expected: str) -> bytes:
    """Return the content of a file, unzipped if its name ends in ``.gz``; errors say what was ``expected``."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror}): expected {expected}") from error
    found = impostor(raw)
    if found:
        raise DataError(path, f"{found}: expected {expected}")
    if path.suffix != ".gz":
        return raw
    try:
        return gzip.decompress(raw)
    except _DAMAGED as error:
        raise DataError(path, f"is truncated or damaged ({error}): expected {expected}") from error


def read_members(path: Path, names: tuple[str, ...], expected: str) -> dict[str, bytes]:
    """Return the content of the named members of a ``.tar.gz``, without writing any file.

    Members are matched by their last path component and only regular files count, so an archive can
    neither choose where something is written nor link out of itself.
    """
    wanted = set(names)
    members: dict[str, bytes] = {}
    try:
        with path.open("rb") as file:
            found = impostor(file.read(512))
        if found:
            raise DataError(path, f"{found}: expected {expected}")
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = member.name.rsplit("/", 1)[-1]
                content = archive.extractfile(member) if name in wanted and member.isreg() else None
                if content is not None:
                    members[name] = content.read()
                if len(members) == len(wanted):
                    break
    except _DAMAGED as error:
        raise DataError(path, f"is truncated or damaged ({error}): expected {expected}") from error
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror or error}): expected {expected}") from error
    lacking = sorted(wanted - members.keys())
    if lacking:
        raise DataError(path, f"has no member {', '.join(lacking)}: expected {expected}")
    return members


def shuffled(count: int, seed: int) -> NDArray[np.intp]:
    """Return a permutation of ``range(count)`` that is the same with every version of numpy.

    NumPy keeps the raw stream of a bit generator stable for ever, but not what ``Generator`` draws from it.

    >>> shuffled(5, seed=0).tolist()
    [3, 2, 1, 0, 4]
    """
    return np.argsort(np.random.PCG64(seed).random_raw(count), kind="stable")


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
