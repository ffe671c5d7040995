"""Tables in their own units as regression tasks in [0, 1]."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradshape.data.source import Rows

Floats = NDArray[np.floating[Any]]


def unit_rows(
    x: Floats, y: Floats, *, train: NDArray[np.integer[Any]], test: NDArray[np.integer[Any]]
) -> tuple[Rows, Rows]:
    """Train and test rows in [0, 1]: every column, and ``y``, is mapped from its range over the train rows to [0, 1].

    Test values outside that range are clipped to it, as a model that was fitted on the train rows knows no more. A
    column that is constant over the train rows becomes 0.

    Args:
        x: ``(N, d)`` features.
        y: ``(N,)`` values to predict.
        train, test: row ids.

    Returns:
        Float32 rows, in the order of the ids.

    >>> rows = np.array([0, 1]), np.array([2])
    >>> train, test = unit_rows(np.array([[2.0], [4.0], [3.0]]), np.array([0.0, 8.0, 9.0]), train=rows[0], test=rows[1])
    >>> train.x.tolist(), test.x.tolist(), test.y.tolist()
    ([[0.0], [1.0]], [[0.5]], [1.0])
    """
    scaled, values = _to_unit(x, train), _to_unit(y, train)
    return Rows(scaled[train], values[train]), Rows(scaled[test], values[test])


def _to_unit(table: Floats, train: NDArray[np.integer[Any]]) -> Floats:
    low, high = table[train].min(axis=0), table[train].max(axis=0)
    width = np.where(high > low, high - low, 1)
    unit: Floats = ((table - low) / width).clip(0, 1).astype(np.float32)
    return unit
