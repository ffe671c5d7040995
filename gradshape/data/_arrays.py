"""Arrays of ``.npz`` files: nothing is unpickled, and what a file declares is checked before memory is taken for it."""

import io
import math
import os
import zipfile
from collections import Counter
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradshape.data._files import memory, opened
from gradshape.data.errors import DataError

_MAGIC = b"\x93NUMPY"
# Bytes of an array's header: NumPy's own limit.
_MOST_HEADER = 10_000
_CHUNK = 1 << 20
# Arrays of more bytes than this are not unzipped from a file that is smaller by more than this factor.
_UNSUSPECTED_BYTES = 1 << 28
_UNSUSPECTED_FACTOR = 500


def open_arrays(path: Path, names: tuple[str, ...], *others: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Read the named arrays of an ``.npz`` file; nothing in it is unpickled.

    Args:
        path: the file.
        names: names of the arrays.
        others: further lists of names. The list of which the file lacks the fewest is read.

    Raises:
        DataError: the file is no ``.npz`` file, is damaged, lacks an array, or holds one of Python objects, one that
            does not fill what it declares, or more than this machine's memory.
    """
    expected = f"an .npz file with the arrays {', '.join(names)}"
    with opened(path, expected) as file:
        try:
            archive = zipfile.ZipFile(file)
        except zipfile.BadZipFile as error:
            raise DataError(path, f"is no zip file, or a truncated one: expected {expected}") from error
        with archive:
            have = [entry.filename.removesuffix(".npy") for entry in archive.infolist()]
            names = min((names, *others), key=lambda names: len(set(names) - set(have)))
            lacking = [name for name in names if name not in have]
            if lacking:
                expected = f"an .npz file with the arrays {', '.join(names)}"
                held = f"{', '.join(have)}"[:200] or "none"
                raise DataError(path, f"lacks {', '.join(lacking)} (it has {held}): expected {expected}")
            twice = [name for name, count in Counter(have).items() if name in names and count > 1]
            if twice:
                raise DataError(path, f"holds {twice[0]} twice: expected {expected}")
            entries = {name: archive.infolist()[have.index(name)] for name in names}
            _check_entries(path, list(entries.values()), os.fstat(file.fileno()).st_size)
            return {name: _array(path, name, archive, entry) for name, entry in entries.items()}


def _check_entries(path: Path, entries: list[zipfile.ZipInfo], file_size: int) -> None:
    for entry in entries:
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(path, f"holds {entry.filename} zipped by method {entry.compress_type}: expected 0 or 8")
    packed, unpacked = (sum(sizes) for sizes in zip(*((e.compress_size, e.file_size) for e in entries), strict=True))
    if packed > file_size:
        raise DataError(path, f"declares {packed:,} bytes of zipped arrays, and has {file_size:,}: expected no more")
    if unpacked > memory():
        raise DataError(path, f"declares {unpacked:,} bytes of arrays: expected at most this machine's {memory():,}")
    if unpacked > _UNSUSPECTED_BYTES and unpacked > _UNSUSPECTED_FACTOR * packed:
        raise DataError(
            path,
            f"unzips {packed:,} bytes to {unpacked:,}, as files do that are made to fill the memory: expected less "
            "(where the arrays are meant so, numpy.savez keeps them without compression)",
        )


def _array(path: Path, name: str, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(entry) as stream:
        header = _Header.read(stream)
        dtype, shape = header.dtype, header.shape
        if dtype.hasobject:
            # Rebuilding Python objects would run code from the file.
            raise DataError(
                path, f"array {name} holds Python objects, which are pickled and never loaded: expected numbers"
            )
        if dtype.kind not in "biuf":
            raise DataError(path, f"array {name} has dtype {f'{dtype}'[:50]}: expected numbers")
        declared, held = math.prod(shape) * dtype.itemsize, entry.file_size - header.size
        if min(shape, default=0) < 0 or declared != held:
            raise DataError(
                path,
                f"array {name} declares shape {f'{shape}'[:100]} of {dtype} and has {held:,} bytes: "
                f"expected {f'{declared:,}'[:50]}",
            )
        content = np.empty(declared, dtype=np.uint8)
        place = 0
        while place < declared:
            piece = stream.read(min(_CHUNK, declared - place))
            if not piece:
                raise EOFError(f"array {name} ends after {place:,} bytes")
            content.data[place : place + len(piece)] = piece
            place += len(piece)
        # The checksum is compared at the end.
        stream.read(1)
    if dtype.kind == "b" and content.size and content.max() > 1:
        raise DataError(path, f"array {name} has a boolean {content.max()}: expected 0 or 1")
    array = content.view(dtype)
    return array.reshape(shape[::-1]).T if header.fortran_order else array.reshape(shape)


class _Header(NamedTuple):
    """What an array declares of itself, in so many bytes."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[Any]
    size: int

    @staticmethod
    def read(stream: IO[bytes]) -> "_Header":
        start = stream.read(len(_MAGIC) + 2)
        if start[:-2] != _MAGIC or start[-2] not in (1, 2, 3):
            raise ValueError("an array does not begin as arrays do")
        width = 2 if start[-2] == 1 else 4
        length = stream.read(width)
        if int.from_bytes(length, "little") > _MOST_HEADER:
            raise ValueError(f"an array's header of {int.from_bytes(length, 'little'):,} bytes")
        text = stream.read(int.from_bytes(length, "little"))
        parse = np.lib.format.read_array_header_1_0 if width == 2 else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = parse(io.BytesIO(length + text))
        return _Header(shape, fortran_order, dtype, len(start) + width + len(text))
