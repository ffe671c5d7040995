"""Small files that would take very much memory or time if what they declare were believed.

Run as ``python -m tests.reliability.bombs FOLDER``: reads each in a process that may take one GiB more than it has, and
prints a line of JSON for each: its name, the processor seconds, and what came of it.
"""

import gzip
import io
import json
import resource
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.reliability.files import READERS, npz, tar

GIB = 1 << 30
_Y = np.array([0, 1])


def npy(descr: str, shape: tuple[int, ...], content: bytes = b"") -> bytes:
    """An array that declares its shape, whatever its content."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}}}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + content


def archive(x: bytes, *, method: int = zipfile.ZIP_DEFLATED, extra: dict[str, bytes] | None = None) -> bytes:
    """A zip file of two arrays of labels and two others."""
    labels = io.BytesIO()
    np.save(labels, _Y)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in {
            "x_train": x,
            "x_test": x,
            "y_train": labels.getvalue(),
            "y_test": labels.getvalue(),
        }.items():
            file.writestr(f"{name}.npy", content)
        for name, content in (extra or {}).items():
            file.writestr(name, content)
    return buffer.getvalue()


def declared(file: bytes, size: int) -> bytes:
    """The zip file with another size of its first member, in its directory and where the member begins."""
    place = file.index(b"PK\1\2")
    value = struct.pack("<I", size)
    return file[:22] + value + file[26 : place + 24] + value + file[place + 28 :]


def zeros(length: int) -> bytes:
    """An array of zeros which is made out of one zipped piece, repeated: a valid file, up to its checksum."""
    start = npy("<f8", (2, length // 16))
    piece = zlib.compressobj(9, zlib.DEFLATED, -15)
    megabyte = piece.compress(bytes(1 << 20)) + piece.flush(zlib.Z_FULL_FLUSH)
    first = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = first.compress(start) + first.flush(zlib.Z_FULL_FLUSH) + megabyte * (length >> 20) + b"\3\0"
    held = len(start) + (length >> 20 << 20)
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 33, 0, len(packed), held, 11, 0) + b"x_train.npy" + packed
    rest = archive(npy("<f8", (2, 1), bytes(16)))
    with zipfile.ZipFile(io.BytesIO(rest)) as file:
        offset = file.infolist()[1].header_offset
        directory = file.start_dir
    entries, shift = rest[directory:], len(local) - offset
    patched = bytearray()
    for place, entry in enumerate(entries.split(b"PK\1\2")[1:]):
        fields = bytearray(b"PK\1\2" + entry)
        if place == 0:
            fields[16:28] = struct.pack("<3I", 0, len(packed), held)
        else:
            fields[42:46] = struct.pack("<I", struct.unpack("<I", fields[42:46])[0] + shift)
        patched += fields
    end = patched.index(b"PK\5\6")
    patched[end + 16 : end + 20] = struct.pack("<I", directory + shift)
    return local + rest[offset:directory] + bytes(patched)


def gzip_bomb(size: int) -> bytes:
    """So many zeros, in streams that follow each other."""
    return gzip.compress(bytes(16 << 20)) * (size >> 24)


def sparse(shape: tuple[int, int], indptr: np.ndarray) -> bytes:
    parts = {"data": np.array([1]), "indices": np.array([0]), "indptr": indptr, "shape": np.array(shape, np.uint64)}
    named = {f"counts_{split}_{part}": array for split in ("train", "test") for part, array in parts.items()}
    return npz(y_train=_Y, y_test=_Y, **named)


def tar_of_size(size: bytes, kind: bytes = b"0") -> bytes:
    header = bytearray(tar({"bangkok": b""})[:512])
    header[124:136], header[156:157] = size, kind
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "1 PiB": ("npz", lambda: archive(npy("<f8", (2, 2**46)))),
    "4 GiB, declared in the archive too": ("npz", lambda: declared(archive(npy("<f8", (2, 2**46))), 0xFFFFFFFE)),
    "more than 64 bits": ("npz", lambda: archive(npy("<f8", (2**40, 2**40)))),
    "no bytes an element": ("npz", lambda: archive(npy("|V0", (2, 2**46)))),
    "4 GiB of header": ("npz", lambda: archive(b"\x93NUMPY\2\0\xff\xff\xff\xff" + bytes(1 << 20))),
    "brackets": ("npz", lambda: archive(b"\x93NUMPY\1\0" + struct.pack("<H", 9999) + b"(" * 9999)),
    "2 GiB of zeros": ("npz", lambda: zeros(2 * GIB)),
    "objects": ("npz", lambda: archive(npy("|O", (2, 2), b"cos\nsystem\n(S'exit 1'\ntR."))),
    "zipped by LZMA": ("npz", lambda: archive(npy("<f8", (2, 1), bytes(16)), method=zipfile.ZIP_LZMA)),
    "an array twice": ("npz", lambda: archive(npy("<f8", (2, 1), bytes(16)), extra={"x_train": b""})),
    "1 PiB of tokens": ("npz-sparse", lambda: sparse((2, 2**50), np.array([0, 1, 1]))),
    "tokens beyond 64 bits": ("npz-sparse", lambda: sparse((2, 2**64 - 1), np.array([0, 1, 1]))),
    "8 GiB of tokens": ("npz-sparse", lambda: sparse((2, 2**32), np.array([0, 1, 1]))),
    "rows that wrap around": ("npz-sparse", lambda: sparse((3, 2), np.array([0, 2**63 - 1, -(2**63), 1]))),
    "images of 4 GiB": ("idx-gzip", lambda: gzip_bomb(4 * GIB)),
    "images that declare 64 TiB": ("idx", lambda: struct.pack(">4I", 0x803, 2**32 - 1, 2**8, 2**6)),
    "a million empty streams": ("idx-gzip", lambda: gzip.compress(b"") * 1_000_000),
    "a name without end": ("idx-gzip", lambda: b"\x1f\x8b\x08\x08" + bytes(6) + b"x" * (64 << 20)),
    "an archive of 4 GiB": ("table", lambda: gzip_bomb(4 * GIB)),
    "a member of 8 GiB": ("table", lambda: gzip.compress(tar_of_size(b"77777777777\0"))),
    "a member of 2**88 bytes": ("table", lambda: gzip.compress(tar_of_size(b"\x80" + b"\xff" * 11))),
    "a member of -512 bytes": ("table", lambda: gzip.compress(tar_of_size(b"\xff" * 10 + b"\xfe\0") * 8)),
    "a sparse member": ("table", lambda: gzip.compress(tar_of_size(b"77777777777\0", b"S"))),
    "records chained without end": ("table", lambda: gzip.compress(tar_of_size(b"00000000000\0", b"x") * 2000)),
    "a record of digits": ("table", lambda: gzip.compress(tar_of_size(b"00003641000\0", b"x") + b"9" * 1_000_000)),
    "a link to a file outside": ("table", lambda: gzip.compress(tar_of_size(b"00000000000\0", b"2"))),
    "a million members": ("table", lambda: gzip.compress(tar({"a": b""})[:512] * 1_000_000, 1)),
    "one line of 64 MiB": ("table", lambda: gzip.compress(tar({"bangkok": b"1," * (32 << 20)}), 1)),
}


def main(folder: Path) -> None:
    contents = [(name, reader, make()) for name, (reader, make) in BOMBS.items()]
    size = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + GIB, size + GIB))
    for number, (name, reader, content) in enumerate(contents):
        path = READERS[reader].lay_out(folder / str(number))
        path.write_bytes(content)
        began = time.process_time()
        try:
            READERS[reader].read(folder / str(number))
            became = "read"
        except BaseException as error:
            became = f"{type(error).__name__}: {error}"
        print(json.dumps([name, time.process_time() - began, became]), flush=True)
        path.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
