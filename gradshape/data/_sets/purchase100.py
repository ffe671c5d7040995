"""Purchase-100 (Shokri et al. 2017): what a customer bought or did not, in 100 clusters of customers.

Two published forms are read: ``dataset_purchase.tgz``, a table, and ``purchase100.npz``, arrays. If both are
there the table is taken. The records that are drawn depend on the order of the file's rows.

No hash of ``dataset_purchase.tgz`` is published. The first download therefore records its sha256 in
``dataset_purchase.tgz.sha256`` beside it, and every later download into that folder must have the same;
remove that file to accept another one.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradshape.data._arrays import open_arrays
from gradshape.data._files import read_members
from gradshape.data._formats import binary_table, shuffled, table_bytes
from gradshape.data.errors import DataError
from gradshape.data.source import PublishedFile, RawSplit, Source, register

_ARCHIVE = "dataset_purchase.tgz"
_MEMBER = "dataset_purchase"
_ARRAYS = "purchase100.npz"
FILES = (
    PublishedFile(
        _ARCHIVE,
        f"https://github.com/privacytrustlab/datasets/raw/master/{_ARCHIVE}",
        hash=None,
        instead=(_ARRAYS,),
    ),
)
CLASSES = 100


def _read_table(path: Path, rows: int, features: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    most = table_bytes(features=features, rows=rows)
    text = read_members(path, (_MEMBER,), f"a .tgz with a table {_MEMBER!r}", most=most)[_MEMBER]
    return binary_table(path, text, features=features, classes=CLASSES, rows=rows)


def _read_arrays(path: Path, rows: int, features: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    arrays = open_arrays(path, ("features", "labels"))
    x = _binary(path, "features", arrays["features"], (rows, features))
    labels = _binary(path, "labels", arrays["labels"], (rows, CLASSES))
    if (labels.sum(axis=1, dtype=np.int64) != 1).any():
        raise DataError(path, "array labels has a row without exactly one 1: expected one-hot classes")
    return x, labels.argmax(axis=1)


def _binary(path: Path, name: str, array: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.uint8]:
    if array.shape != shape:
        raise DataError(path, f"array {name} has shape {array.shape}: expected {shape}")
    bits = array.astype(np.bool_)
    if not np.array_equal(bits, array):
        raise DataError(path, f"array {name} has a value that is neither 0 nor 1")
    return bits.view(np.uint8)


def _records(folder: Path, rows: int, features: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    archive = folder / _ARCHIVE
    if archive.exists():
        return _read_table(archive, rows, features)
    return _read_arrays(folder / _ARRAYS, rows, features)


def _draw(x: NDArray[np.uint8], y: NDArray[np.int64], train: int, test: int) -> tuple[RawSplit, RawSplit]:
    order = shuffled(len(y), seed=100)
    first, second = order[:train], order[train : train + test]
    return RawSplit(x[first], y[first]), RawSplit(x[second], y[second])


def read(
    folder: Path, *, rows: int = 197_324, features: int = 600, train: int = 10_000, test: int = 10_000
) -> tuple[RawSplit, RawSplit]:
    """Draw ``train`` and ``test`` records by a fixed seed, without overlap."""
    x, y = _records(folder, rows, features)
    return _draw(x, y, train, test)


def read_top(
    folder: Path, *, rows: int = 197_324, features: int = 600, train: int = 10_000, test: int = 10_000, items: int = 100
) -> tuple[RawSplit, RawSplit]:
    """Draw the same records as :func:`read`, reduced to the ``items`` items that are most frequent among all records.

    The items stay in their published order; among equally frequent items, earlier ones count as more frequent.
    """
    x, y = _records(folder, rows, features)
    bought = x.sum(axis=0, dtype=np.int64)
    top = np.sort(np.argsort(-bought, kind="stable")[:items])
    return _draw(x[:, top], y, train, test)


PURCHASE100 = register(
    Source(
        name="purchase100",
        description="Purchase-100: 600 items that a customer bought or not, 100 clusters (Shokri et al. 2017)",
        read=read,
        shape=(600,),
        num_classes=CLASSES,
        rows=(10_000, 10_000),
        files=FILES,
    )
)

PURCHASE100_TOP = register(
    Source(
        name="purchase100_top",
        description="Purchase-100 reduced to its 100 most frequent items, the same records as purchase100",
        read=read_top,
        shape=(100,),
        num_classes=CLASSES,
        rows=(10_000, 10_000),
        files=FILES,
        folder="purchase100",
    )
)
