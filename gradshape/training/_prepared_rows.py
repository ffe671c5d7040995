"""The rows of a workload in the forms that the built-in families take, made once for all stacks of a call."""

from collections.abc import Sequence
from functools import cached_property
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from gradshape.data import Dataset
from gradshape.training._rows.device_rows import DeviceRows
from gradshape.training._rows.matrix import RowMatrix
from gradshape.training._rows.table import RowTable
from gradshape.training.victim import Victim
from gradshape.training.workload import Workload


class PreparedRows:
    """Rows are put into a form when a family first asks for it; see :class:`gradshape.training.Workload`."""

    def __init__(
        self,
        dataset: Dataset,
        victims: Sequence[Victim],
        *,
        device: torch.device,
        dtype: torch.dtype,
        max_memory: int,
    ) -> None:
        self._dataset = dataset
        self._victims = victims
        self._device = device
        self._dtype = dtype
        self._max_memory = max_memory

    @cached_property
    def table(self) -> RowTable:
        """All training rows."""
        return RowTable.of(self._dataset, self._victims)

    @cached_property
    def matrices(self) -> tuple[RowMatrix, RowMatrix]:
        """Training and test rows as dense networks take them."""
        rows, test = (RowMatrix.of(x, y, dtype=self._dtype, device=self._device) for x, y in self._parts)
        return rows, test

    @cached_property
    def batches(self) -> tuple[DeviceRows, DeviceRows]:
        """Training and test rows as all other models take them."""
        # The tables may take half of the memory; what does not fit comes to the device batch by batch.
        most = self._max_memory // 4
        rows, test = (DeviceRows(x, y, device=self._device, dtype=self._dtype, max_bytes=most) for x, y in self._parts)
        return rows, test

    @property
    def _parts(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        return (self.table.x, self.table.y), (self._dataset.test.x, self._dataset.test.y)


# Kept apart from the workloads, which families of other people are given: these rows are no part of the promise.
_prepared: "WeakKeyDictionary[Workload, PreparedRows]" = WeakKeyDictionary()


def prepared_rows(work: Workload) -> PreparedRows:
    """Return the rows of ``work``, the same ones at every call."""
    found = _prepared.get(work)
    if found is None:
        found = _prepared[work] = PreparedRows(
            work.dataset, work.victims, device=work.device, dtype=work.dtype, max_memory=work.max_memory
        )
    return found
