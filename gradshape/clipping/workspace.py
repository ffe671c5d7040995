"""Buffers for formed per-sample gradients that a thread keeps and uses again, batch after batch.

Formed gradients are the largest tensors of a clipped step. An allocator gives so much memory back to the system, which
clears it page by page when it is asked for again; that takes longer than the arithmetic.
"""

import math
import threading
from collections.abc import Sequence

import torch
from torch import Tensor

# The most bytes that a thread keeps between batches.
_KEPT_BYTES = 1 << 28


class _Thread(threading.local):
    """The blocks that a thread keeps and that nobody uses at present."""

    def __init__(self) -> None:
        self.free: list[Tensor] = []


_thread = _Thread()


class Workspace:
    """An uninitialized tensor whose memory its thread may use again once this object is gone.

    No view of :attr:`tensor` may outlive this object. On devices other than CPUs, whose allocators keep memory
    themselves, the memory is new each time.

    Args:
        shape: shape of the tensor.
        like: a tensor of the device and dtype that it shall have.

    Attributes:
        tensor: the tensor, its values unspecified.
    """

    def __init__(self, shape: Sequence[int], like: Tensor) -> None:
        size = math.prod(shape)
        self._free: list[Tensor] | None = None
        if like.device.type != "cpu":
            self.tensor = like.new_empty(shape)
            return
        free = _thread.free
        self._block = _taken(free, size, like.dtype)
        self._free = free
        self.tensor = self._block[:size].view(*shape)

    def __del__(self) -> None:
        if self._free is not None and sum(block.nbytes for block in self._free) + self._block.nbytes <= _KEPT_BYTES:
            self._free.append(self._block)


def release_workspaces() -> None:
    """Give back the memory that this thread keeps for the gradients of its next batch."""
    _thread.free.clear()


def _taken(free: list[Tensor], size: int, dtype: torch.dtype) -> Tensor:
    """Take the smallest free block that is large enough, or replace one that is too small by a new one."""
    fitting = [block for block in free if block.dtype == dtype and block.numel() >= size]
    if fitting:
        found = min(fitting, key=Tensor.numel)
    elif free:
        found = min(free, key=Tensor.numel)
    else:
        return torch.empty(size, dtype=dtype)
    place = next(place for place, block in enumerate(free) if block is found)
    del free[place]
    return found if fitting else torch.empty(size, dtype=dtype)
