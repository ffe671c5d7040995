"""Rows as dense networks take them: one matrix, so that the rows of a batch are gathered in one pass."""

import torch
from torch import Tensor

# Number of rows that are squared at a time, to bound memory.
_BLOCK_ROWS = 1024
# On CPUs, matrix products round differently where a matrix has fewer rows or columns, or where its rows are no multiple
# of so many elements apart, and then by its place in memory. Stacks are filled up with models that nobody trains, and
# batches and inputs with zeros, so that a victim's numbers depend neither on its company nor on its place.
LEAST_WIDTH, ALIGNED = 16, 4


def aligned(count: int, to: int = ALIGNED) -> int:
    """Return the least multiple of ``to`` that is at least ``count``."""
    return -(-count // to) * to


def columns_of(inputs: int) -> int:
    """Return the number of columns of rows with so many inputs: the inputs, a constant 1 for the bias, and zeros."""
    return max(aligned(inputs + 1), LEAST_WIDTH)


class RowMatrix:
    """Rows with labels.

    Attributes:
        x: ``(..., n)`` flattened rows in the columns of :func:`columns_of`.
        squared: ``(...,)`` squared norms of the rows of ``x``.
        label: ``(...,)`` class ids as floating-point numbers.
    """

    def __init__(self, matrix: Tensor) -> None:
        self._matrix = matrix
        self.x = matrix[..., :-2]
        self.squared = matrix[..., -2]
        self.label = matrix[..., -1]

    @classmethod
    def of(cls, x: Tensor, y: Tensor, *, dtype: torch.dtype, device: torch.device) -> "RowMatrix":
        """Put the rows ``x (N, *shape)``, ``y (N,)`` into a matrix."""
        inputs = x[0].numel()
        rows = cls(torch.empty(len(x), columns_of(inputs) + 2, dtype=dtype, device=device))
        rows.x[:, :inputs] = x.flatten(1)
        rows.x[:, inputs] = 1
        rows.x[:, inputs + 1 :] = 0
        for part, squared in zip(rows.x.split(_BLOCK_ROWS), rows.squared.split(_BLOCK_ROWS), strict=True):
            torch.sum(part.square(), dim=1, out=squared)
        rows.label[:] = y
        return rows

    def __len__(self) -> int:
        return len(self._matrix)

    def __getitem__(self, ids: Tensor) -> "RowMatrix":
        """Return the rows with these ids, of any shape."""
        flat = ids.flatten().to(self._matrix.device)
        return RowMatrix(self._matrix.index_select(0, flat).unflatten(0, ids.shape))
