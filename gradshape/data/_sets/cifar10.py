"""CIFAR-10 (Krizhevsky 2009): 32x32 colour pictures, from the binary version, which needs no unpickling."""

import tempfile
from pathlib import Path

import numpy as np

from gradshape.data._files import read_bytes, read_members
from gradshape.data.errors import DataError
from gradshape.data.source import PublishedFile, RawSplit, Source, register

SHAPE = (3, 32, 32)
_ROW = 1 + 3 * 32 * 32
_FOLDER = "cifar-10-batches-bin"
_ARCHIVE = "cifar-10-binary.tar.gz"
_TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_TEST = ("test_batch.bin",)
# Six batches of 10,000 rows, and a little beside them.
_ARCHIVE_BYTES = 6 * 10_000 * _ROW + (1 << 20)


def _read_batches(paths: list[Path], rows: int) -> RawSplit:
    """Read ``rows`` rows from each file: a byte with the class id, then 3,072 with the pixels, channel by channel."""
    tables = []
    for path in paths:
        expected = f"{rows:,} rows of {_ROW:,} bytes"
        raw = read_bytes(path, expected, most=rows * _ROW)
        if len(raw) != rows * _ROW:
            found = f"{len(raw):,}" if len(raw) < rows * _ROW else f"more than {rows * _ROW:,}"
            raise DataError(path, f"has {found} bytes: expected {expected}")
        table = np.frombuffer(raw, dtype=np.uint8).reshape(rows, _ROW)
        if table[:, 0].max() > 9:
            raise DataError(path, f"has a label {table[:, 0].max()}: expected class ids 0..9")
        tables.append(table)
    together = np.concatenate(tables)
    return RawSplit(together[:, 1:].reshape(-1, *SHAPE), together[:, 0])


def read(folder: Path, *, batch: int = 10_000) -> tuple[RawSplit, RawSplit]:
    """Read the published splits; ``batch`` is the number of rows that each of the six files must have."""
    batches = folder / _FOLDER
    return _read_batches([batches / name for name in _TRAIN], batch), _read_batches(
        [batches / name for name in _TEST], batch
    )


def unpack(folder: Path) -> None:
    """Unpack the six batches from the archive, unless that was done; each appears whole or not at all."""
    batches = folder / _FOLDER
    lacking = tuple(name for name in (*_TRAIN, *_TEST) if not (batches / name).exists())
    if not lacking:
        return
    members = read_members(folder / _ARCHIVE, lacking, "the binary version of CIFAR-10", most=_ARCHIVE_BYTES)
    batches.mkdir(exist_ok=True)
    for name, content in members.items():
        with tempfile.TemporaryDirectory(dir=batches) as scratch:
            partial = Path(scratch) / name
            partial.write_bytes(content)
            partial.replace(batches / name)


CIFAR10 = register(
    Source(
        name="cifar10",
        description="CIFAR-10: 32x32 colour pictures of animals and vehicles in 10 classes (Krizhevsky 2009)",
        read=read,
        scale=255,
        shape=SHAPE,
        num_classes=10,
        rows=(50_000, 10_000),
        files=(
            PublishedFile(
                _ARCHIVE,
                f"https://www.cs.toronto.edu/~kriz/{_ARCHIVE}",
                "md5:c32a1d4ab5d03f1284b67883e8d87530",
                instead=tuple(f"{_FOLDER}/{name}" for name in (*_TRAIN, *_TEST)),
            ),
        ),
        unpack=unpack,
    )
)
