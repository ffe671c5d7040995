"""Scaling of tables in their own units to regression tasks in [0, 1]."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradshape.data.source import RawSplit

Floats = NDArray[np.floating[Any]]


def unit_rows(
    x: Floats, y: Floats, *, train: NDArray[np.integer[Any]], test: NDArray[np.integer[Any]]
) -> tuple[RawSplit, RawSplit]:
    """Map every column, and ``y``, from its range over the train rows to [0, 1].

    Test values outside that range are clipped to it. A column that is constant over the train rows becomes 0.

    Args:
        x: ``(N, d)`` features.
        y: ``(N,)`` values to predict.
        train, test: row ids of the two splits.

    Returns:
        Float32 train and test rows, in the order of their ids.

    >>> rows = np.array([0, 1]), np.array([2])
    >>> train, test = unit_rows(np.array([[2.0], [4.0], [3.0]]), np.array([0.0, 8.0, 9.0]), train=rows[0], test=rows[1])
    >>> train.x.tolist(), test.x.tolist(), test.y.tolist()
    ([[0.0], [1.0]], [[0.5]], [1.0])
    """
    scaled, values = _to_unit(x, train), _to_unit(y, train)
    return RawSplit(scaled[train], values[train]), RawSplit(scaled[test], values[test])


def _to_unit(table: Floats, train: NDArray[np.integer[Any]]) -> Floats:
    low, high = table[train].min(axis=0), table[train].max(axis=0)
    width = np.where(high > low, high - low, 1)
    unit: Floats = ((table - low) / width).clip(0, 1).astype(np.float32)
    return unit
