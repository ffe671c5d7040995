"""Copies of tensors: small ones at once, large ones page by page as they are written to."""

import mmap
import os
import tempfile
import weakref
from contextlib import suppress

import torch
from torch import Tensor

# Bytes of a tensor from which copies share their memory: a smaller one is copied sooner than it is put into a file.
_LARGE = 1 << 25


class Copier:
    """Makes copies of a tensor. Who writes to one of them changes neither the tensor nor another copy.

    A large tensor on the CPU is kept once more in a file in memory, of which every copy is a private mapping: that
    takes neither time nor memory, but for the pages that somebody writes to.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor.detach()
        self._file: int | None = None
        if tensor.nbytes >= _LARGE and tensor.device.type == "cpu":
            # Where there is no room for the file, every copy takes memory of its own.
            with suppress(OSError):
                self._file = self._in_file()

    def copy(self) -> Tensor:
        """Return a copy that may be written to; it takes no gradients."""
        if self._file is None:
            return self._tensor.clone()
        memory = mmap.mmap(self._file, self._tensor.nbytes, access=mmap.ACCESS_COPY)
        return torch.frombuffer(memory, dtype=self._tensor.dtype).view(self._tensor.shape)

    def _in_file(self) -> int:
        file = _nameless_file()
        weakref.finalize(self, os.close, file)
        left = memoryview(self._tensor.contiguous().numpy().data).cast("B")
        while left:
            left = left[os.write(file, left) :]
        return file


def same(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors have the same numbers; NaN is the same as NaN."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(one, other) or torch.equal(_bytes(one), _bytes(other))


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().flatten().view(torch.uint8)


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("rows")
    file, path = tempfile.mkstemp()
    os.unlink(path)
    return file
