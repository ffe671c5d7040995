"""What one call of :func:`gradshape.training.train_victims` trains, and the rows that it takes for that."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from gradshape import _seeds, models
from gradshape.data import Dataset
from gradshape.training._rows.device_rows import DeviceRows
from gradshape.training._rows.matrix import RowMatrix
from gradshape.training._rows.table import RowTable
from gradshape.training.state import load_state
from gradshape.training.victim import Victim

DEFAULT_MEMORY = 2 << 30
_CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Workload:
    """The victims of one call with what they share. Rows are put into a form when a family first asks for it.

    Attributes:
        dataset, victims: what is trained on what.
        device, dtype: where, and in which floating-point type.
        max_memory: bytes that a stack may take, with its results and the rows.
        keep_states: whether parameters are kept in the results.
    """

    dataset: Dataset
    victims: Sequence[Victim]
    _: KW_ONLY
    device: torch.device = _CPU
    dtype: torch.dtype = torch.float32
    max_memory: int = DEFAULT_MEMORY
    keep_states: bool = True

    @cached_property
    def table(self) -> RowTable:
        """All training rows."""
        return RowTable.of(self.dataset, self.victims)

    @cached_property
    def matrices(self) -> tuple[RowMatrix, RowMatrix]:
        """Training and test rows as dense networks take them."""
        rows, test = (RowMatrix.of(x, y, dtype=self.dtype, device=self.device) for x, y in self._parts)
        return rows, test

    @cached_property
    def batches(self) -> tuple[DeviceRows, DeviceRows]:
        """Training and test rows as all other models take them."""
        # The tables may take half of the memory; what does not fit comes to the device batch by batch.
        most = self.max_memory // 4
        rows, test = (DeviceRows(x, y, device=self.device, dtype=self.dtype, max_bytes=most) for x, y in self._parts)
        return rows, test

    @property
    def _parts(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        return (self.table.x, self.table.y), (self.dataset.test.x, self.dataset.test.y)

    def initial_model(self, victim: Victim) -> nn.Module:
        """The victim's model before its first step, in float32 on the CPU."""
        return initial_model(self.dataset, victim)


def initial_model(dataset: Dataset, victim: Victim) -> nn.Module:
    """The victim's model before its first step, in float32 on the CPU."""
    model = models.build(
        victim.descent.model,
        dataset.input_shape,
        dataset.num_classes,
        generator=_seeds.stream(victim.seed, "initial"),
    )
    if victim.initial is not None:
        load_state(model, victim.initial)
    return model
