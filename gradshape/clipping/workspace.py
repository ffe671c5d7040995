"""Memory for formed gradients that is used again batch after batch.

They are the largest tensors of a clipped step. Allocators give so much memory back to the system, which clears it page
by page when it is asked for again: that took longer than the arithmetic.
"""

import math
import threading
from collections.abc import Sequence

import torch
from torch import Tensor

# Bytes that a thread keeps between batches, at most.
_KEPT_BYTES = 1 << 28


class _Thread(threading.local):
    """Blocks of a thread that nobody uses."""

    def __init__(self) -> None:
        self.free: list[Tensor] = []


_thread = _Thread()


class Workspace:
    """Uninitialized memory, which the thread that asked for it may use again once the loan is gone.

    No view of :attr:`tensor` may outlive it. On other devices than CPUs, whose allocators keep memory themselves, this
    is just new memory.

    Args:
        shape: of the tensor.
        like: of whose device and dtype it is.

    Attributes:
        tensor: of this shape.
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
    """Give back what this thread keeps."""
    _thread.free.clear()


def _taken(free: list[Tensor], size: int, dtype: torch.dtype) -> Tensor:
    """The smallest free block that is large enough, or a new one in the place of one that is too small."""
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
