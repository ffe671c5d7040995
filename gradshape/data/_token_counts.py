"""Text corpora of the user's own: how often each message holds each token, as arrays of an ``.npz`` file.

``counts_train`` and ``counts_test`` take the place of ``x_train`` and ``x_test``: ``(N, V)`` numbers of at least 0. Or
each is four arrays, the parts of a sparse matrix by rows. For ``m``, a ``scipy.sparse.csr_array``, these are
``counts_train_data=m.data``, ``counts_train_indices=m.indices``, ``counts_train_indptr=m.indptr`` and
``counts_train_shape=m.shape``, given to ``numpy.savez_compressed``. Only whether a count is above 0 is kept. In memory
the rows are dense, 4 bytes a token and message, so a large vocabulary is best cut to its frequent tokens first.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradshape.data._files import memory
from gradshape.data.errors import DataError

Arrays = Mapping[str, NDArray[Any]]

_PARTS = ("data", "indices", "indptr", "shape")
_LABELS = ("y_train", "y_test")
DENSE = ("counts_train", "counts_test", *_LABELS)
# Bytes of a value of the dense rows, as they are made and as they are kept.
_BYTES_EACH = 5
# More values than these are taken for real only if one of so many is stored: small files must not fill the memory.
_UNSUSPECTED, _SPARSEST = 2**26, 20_000
SPARSE = (*(f"counts_{split}_{part}" for split in ("train", "test") for part in _PARTS), *_LABELS)


def presence(path: Path, arrays: Arrays, split: str) -> NDArray[np.uint8]:
    """Return ``(N, V)`` values: 1 where a message of the split holds a token, else 0.

    Args:
        path: the file that errors name.
        arrays: the arrays of :data:`DENSE` or of :data:`SPARSE`, by name.
        split: ``"train"`` or ``"test"``.

    Raises:
        DataError: a count is negative or not finite, or the parts of a sparse matrix do not fit together.
    """
    name = f"counts_{split}"
    if name in arrays:
        counts = arrays[name]
        _check_counts(path, name, counts)
        return (counts > 0).astype(np.uint8)
    data, indices, indptr, shape = (arrays[f"{name}_{part}"] for part in _PARTS)
    _check_counts(path, f"{name}_data", data)
    _check_parts(path, name, data, indices, indptr, shape)
    rows, tokens = map(int, shape)
    x = np.zeros((rows, tokens), dtype=np.uint8)
    held = data > 0
    starts = indptr.astype(np.int64)
    x[np.repeat(np.arange(rows), starts[1:] - starts[:-1])[held], indices[held].astype(np.int64)] = 1
    return x


def _check_counts(path: Path, name: str, counts: NDArray[Any]) -> None:
    bad = counts[~(np.isfinite(counts) & (counts >= 0))]
    if bad.size:
        raise DataError(path, f"array {name} has a count {bad[0]:g}: expected finite numbers of at least 0")


def _check_parts(path: Path, name: str, data: Any, indices: Any, indptr: Any, shape: Any) -> None:
    def require(holds: bool, what: str) -> None:
        if not holds:
            raise DataError(path, what)

    for part, array in (("indices", indices), ("indptr", indptr), ("shape", shape)):
        require(
            array.dtype.kind in "iu" and array.ndim == 1,
            f"array {name}_{part} has dtype {array.dtype} and shape {array.shape}: expected a row of integers",
        )
    require(
        shape.size == 2 and bool((shape > 0).all()),
        f"array {name}_shape is {shape[:5].tolist()}: expected the numbers of messages and of tokens, each at least 1",
    )
    rows, tokens = map(int, shape)
    require(
        data.shape == indices.shape,
        f"arrays {name}_data and {name}_indices have shapes {data.shape} and {indices.shape}: expected the same",
    )
    elements = rows * tokens
    require(
        elements * _BYTES_EACH <= memory() and (elements <= _UNSUSPECTED or elements <= _SPARSEST * (1 + len(data))),
        f"array {name}_shape declares {rows:,} x {tokens:,} values, and {len(data):,} are stored: "
        "expected fewer, as without tokens that are in no message",
    )
    starts = indptr.astype(np.int64)
    require(
        len(starts) == rows + 1
        and starts[0] == 0
        and starts[-1] == len(indices)
        and bool(((starts >= 0) & (starts <= len(indices))).all())
        and bool((np.diff(starts) >= 0).all()),
        f"array {name}_indptr does not divide {len(indices)} values among {rows} messages: expected {rows + 1} "
        f"integers from 0 to {len(indices)} that never fall",
    )
    if len(indices):
        low, high = indices.min(), indices.max()
        require(
            low >= 0 and high < tokens,
            f"array {name}_indices lies in [{low}, {high}]: expected tokens in [0, {tokens})",
        )
