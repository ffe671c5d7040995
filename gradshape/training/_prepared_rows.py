"""The rows of a workload in the forms that the built-in families take, made once for all stacks of a call.

They lie apart from the workload, which families of other people are given: these forms are no part of the promise.
"""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

from torch import Tensor

from gradshape.training._rows.device_rows import DeviceRows
from gradshape.training._rows.matrix import RowMatrix
from gradshape.training._rows.table import RowTable
from gradshape.training.workload import Workload

_Form = TypeVar("_Form")


def _once(prepare: Callable[[Workload], _Form]) -> Callable[[Workload], _Form]:
    known: WeakKeyDictionary[Workload, _Form] = WeakKeyDictionary()

    @wraps(prepare)
    def prepared(work: Workload) -> _Form:
        if work not in known:
            known[work] = prepare(work)
        return known[work]

    return prepared


@_once
def row_table(work: Workload) -> RowTable:
    """Return the table of all training rows."""
    return RowTable.of(work.dataset, work.victims)


@_once
def row_matrices(work: Workload) -> tuple[RowMatrix, RowMatrix]:
    """Return training and test rows as dense networks take them."""
    rows, test = (RowMatrix.of(x, y, dtype=work.dtype, device=work.device) for x, y in _parts(work))
    return rows, test


@_once
def row_batches(work: Workload) -> tuple[DeviceRows, DeviceRows]:
    """Return training and test rows as all other models take them."""
    # The tables may take half of the memory; what does not fit comes to the device batch by batch.
    most = work.max_memory // 4
    rows, test = (DeviceRows(x, y, device=work.device, dtype=work.dtype, max_bytes=most) for x, y in _parts(work))
    return rows, test


def _parts(work: Workload) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    table, test = row_table(work), work.dataset.test
    return (table.x, table.y), (test.x, test.y)
