"""The readers of users' files, each with a small valid file, and ways to make files malformed."""

import gzip
import io
import random
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gradshape.data import load
from gradshape.data._sets import cifar10, fashion_mnist, location30, purchase100
from tests.data import publish

Edit = Callable[[random.Random, bytes], bytes]


@dataclass(frozen=True)
class Layer:
    """What is inside a file: ``unwrap`` takes it out of the file's bytes, ``wrap`` puts other content in its place."""

    unwrap: Callable[[bytes], bytes]
    wrap: Callable[[bytes, bytes], bytes]


@dataclass(frozen=True)
class Reader:
    """A reader of one file.

    Attributes:
        name: of the file, below a folder.
        valid: content that it reads.
        read: reads the file in a folder.
        layers: what is inside of what, from the outermost; a malformed file may be sound down to any of them.
    """

    name: str
    valid: bytes
    read: Callable[[Path], object]
    layers: tuple[Layer, ...] = ()
    beside: tuple[tuple[str, bytes], ...] = ()

    def lay_out(self, folder: Path) -> Path:
        """Write the valid file, and those that stand beside it."""
        for name, content in ((self.name, self.valid), *self.beside):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder / self.name

    def malformed(self, draw: random.Random) -> bytes:
        """The valid content, edited a few times on one of its layers."""
        depth = draw.randrange(len(self.layers) + 1)
        outer = [self.valid]
        for layer in self.layers[:depth]:
            outer.append(layer.unwrap(outer[-1]))
        content = outer.pop()
        for _ in range(draw.choice((1, 1, 2, 4))):
            content = draw.choice(EDITS)(draw, content)
        for layer in reversed(self.layers[:depth]):
            content = layer.wrap(outer.pop(), content)
        return content


def _flip(draw: random.Random, content: bytes) -> bytes:
    if not content:
        return content
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]


def _extreme(draw: random.Random, content: bytes) -> bytes:
    place, width = draw.randrange(len(content) + 1), draw.choice((1, 2, 4, 8))
    return (
        content[:place] + draw.choice((b"\0", b"\xff", b"\x7f", b"\x80", b"9", b" ")) * width + content[place + width :]
    )


def _cut(draw: random.Random, content: bytes) -> bytes:
    start = draw.randrange(len(content) + 1)
    return content[:start] if draw.random() < 0.5 else content[:start] + content[start + draw.randrange(64) :]


def _insert(draw: random.Random, content: bytes) -> bytes:
    place = draw.randrange(len(content) + 1)
    return content[:place] + draw.randbytes(draw.choice((1, 2, 8, 64))) + content[place:]


def _move(draw: random.Random, content: bytes) -> bytes:
    start, to = (draw.randrange(len(content) + 1) for _ in range(2))
    piece = content[start : start + draw.randrange(64)]
    return content[:to] + piece + content[to + (len(piece) if draw.random() < 0.5 else 0) :]


def _number(draw: random.Random, content: bytes) -> bytes:
    """Another number in place of one that is written in digits."""
    places = [place for place, byte in enumerate(content[:4000]) if byte in b"0123456789"]
    if not places:
        return content
    place = draw.choice(places)
    number = draw.choice(
        (b"-1", b"1e400", b"nan", b"9" * 18, b"9" * 5000, b"1125899906842624", b"(((", b"'", b"#", b"")
    )
    return content[:place] + number + content[place + 1 :]


EDITS: tuple[Edit, ...] = (_flip, _flip, _extreme, _cut, _insert, _move, _number)


def _members(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return {name: file.read(name) for name in file.namelist()}


def _with_member(name: str, archive: bytes, content: bytes) -> bytes:
    """A zip file with another content of one member, and a checksum that fits it."""
    members = _members(archive) | {name: content}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for member, written in members.items():
            file.writestr(member, written)
    return buffer.getvalue()


def zip_layer(name: str) -> Layer:
    return Layer(lambda archive: _members(archive)[name], partial(_with_member, name))


GZIP = Layer(gzip.decompress, lambda _, content: gzip.compress(content, 1))


def _in_tar(archive: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive)) as file:
        content = file.extractfile(file.getnames()[0])
        assert content is not None
        return content.read()


def _tar_with(archive: bytes, content: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive)) as file:
        name = file.getnames()[0]
    return tar({name: content})


TAR = Layer(_in_tar, _tar_with)


def tar(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


_Y = np.array([0, 1, 0, 1, 2, 2])
_DENSE = npz(x_train=np.linspace(0, 1, 12).reshape(6, 2), y_train=_Y, x_test=np.eye(6, 2, dtype="f4"), y_test=_Y)
_COUNTS = npz(counts_train=np.arange(12).reshape(6, 2), y_train=_Y, counts_test=np.eye(6, 2, dtype="i4"), y_test=_Y)
_PARTS = {
    "data": np.array([2, 1, 5, 1]),
    "indices": np.array([0, 1, 1, 0], np.int32),
    "indptr": np.array([0, 1, 2, 3, 4, 4, 4], np.int32),
    "shape": np.array([6, 2]),
}
_SPARSE = npz(
    y_train=_Y, y_test=_Y, **{f"counts_{split}_{part}": _PARTS[part] for split in ("train", "test") for part in _PARTS}
)
_ONE_HOT = npz(features=np.eye(4, 3, dtype="u1"), labels=np.eye(100, dtype="u1")[:4])
_TABLE = publish.table(*publish.records(6, 4, 30))
_IMAGES, _LABELS = np.zeros((3, 28, 28), np.uint8), np.array([0, 1, 2], np.uint8)
_BATCHES = {f"cifar-10-batches-bin/{name}": content for name, content in publish.cifar_batches(batch=1).items()}
_FASHION = {
    f"{prefix}-{kind}": publish.idx(array)
    for prefix in ("train", "t10k")
    for kind, array in (("images-idx3-ubyte", _IMAGES), ("labels-idx1-ubyte", _LABELS))
}


def _beside(files: dict[str, bytes], name: str) -> tuple[tuple[str, bytes], ...]:
    return tuple((other, content) for other, content in files.items() if other != name)


def _unpacked(folder: Path) -> None:
    cifar10.unpack(folder)
    cifar10.read(folder, batch=1)


def _read_npz(folder: Path) -> object:
    return load(folder / "mine.npz")


_FIRST = "train-images-idx3-ubyte"
READERS = {
    "npz": Reader("mine.npz", _DENSE, _read_npz, (zip_layer("x_train.npy"),)),
    "npz-labels": Reader("mine.npz", _DENSE, _read_npz, (zip_layer("y_train.npy"),)),
    "npz-counts": Reader("mine.npz", _COUNTS, _read_npz, (zip_layer("counts_train.npy"),)),
    "npz-sparse": Reader("mine.npz", _SPARSE, _read_npz, (zip_layer("counts_train_indptr.npy"),)),
    "npz-shape": Reader("mine.npz", _SPARSE, _read_npz, (zip_layer("counts_train_shape.npy"),)),
    "npz-one-hot": Reader(
        "purchase100.npz",
        _ONE_HOT,
        partial(purchase100.read, rows=4, features=3, train=2, test=2),
        (zip_layer("labels.npy"),),
    ),
    "idx": Reader(
        _FIRST, _FASHION[_FIRST], partial(fashion_mnist.read, train=3, test=3), beside=_beside(_FASHION, _FIRST)
    ),
    "idx-gzip": Reader(
        f"{_FIRST}.gz",
        gzip.compress(_FASHION[_FIRST]),
        partial(fashion_mnist.read, train=3, test=3),
        (GZIP,),
        _beside(_FASHION, _FIRST),
    ),
    "cifar": Reader(
        "cifar-10-batches-bin/data_batch_1.bin",
        _BATCHES["cifar-10-batches-bin/data_batch_1.bin"],
        partial(cifar10.read, batch=1),
        beside=_beside(_BATCHES, "cifar-10-batches-bin/data_batch_1.bin"),
    ),
    "cifar-archive": Reader("cifar-10-binary.tar.gz", gzip.compress(tar(_BATCHES)), _unpacked, (GZIP,)),
    "table": Reader(
        "dataset_location.tgz",
        gzip.compress(tar({"bangkok": _TABLE})),
        partial(location30.read, rows=6, features=4, train=3),
        (GZIP, TAR),
    ),
}


def headers(draw: random.Random) -> Iterator[bytes]:
    """Arrays as ``.npy`` files may declare them, one after the other."""
    kinds = ("<f8", "|O", "<U9", "|V8", ">i2", "<f2", "|b1", "<M8[s]", "<c16", "f16", "x", "<f99999999999", "O8")
    sizes = (0, 1, 2, 6, -1, 2**31, 2**50, 2**63, 2**64, 10**30, True)
    while True:
        shape = tuple(draw.choice(sizes) for _ in range(draw.choice((0, 1, 2, 2, 3, 70))))
        descr: object = draw.choice(kinds)
        if draw.random() < 0.2:
            descr = draw.choice(([("a", "<f8")], [("a", "|O")], (descr, shape), {"names": 3}, None, 1.5, [descr] * 9))
        header: object = {"descr": descr, "fortran_order": draw.choice((False, True, 0, None)), "shape": shape}
        text = repr(header) if draw.random() < 0.9 else "(" * draw.choice((10, 200, 9000)) + repr(header)
        raw, version = text.encode() + b"\n", draw.choice((1, 2, 3, 1, 2, 3, 0, 9))
        length = draw.choice((len(raw), len(raw), len(raw), 0, 2**16 - 1, 2**32 - 1))
        width = 2 if version == 1 else 4
        declared = min(length, 2 ** (8 * width) - 1).to_bytes(width, "little")
        yield b"\x93NUMPY" + bytes([version, 0]) + declared + raw + draw.randbytes(draw.choice((0, 8, 96)))
