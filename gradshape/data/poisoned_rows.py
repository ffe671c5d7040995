"""Clean training rows with poison among them: which rows there are, and which ids they have."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gradshape.data._copies import same
from gradshape.data.base import Split

# Rows that are compared at a time, to bound memory.
_AT_ONCE = 8192


@dataclass(frozen=True, eq=False)
class PoisonedRows:
    """The train rows without those that poison replaces, followed by the poison.

    Train rows have the ids ``0 ... N - 1``, poison has ``N ... N + n - 1``. Masks have one value for every id, also for
    those of replaced rows.

    Args:
        train: the ``N`` clean rows.
        poison: ``n`` crafted rows; ``None`` for none.
        replaced: ``(m,)`` int64 ids of train rows that are left out; ``None`` for none.
    """

    train: Split
    poison: Split | None = None
    replaced: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of ids, ``N + n``."""
        return len(self.train) + (0 if self.poison is None else len(self.poison))

    @cached_property
    def absent(self) -> Tensor:
        """``(N + n,)`` bool: true for replaced rows."""
        absent = torch.zeros(len(self), dtype=torch.bool)
        if self.replaced is not None:
            absent[self.replaced] = True
        return absent

    @property
    def present(self) -> Tensor:
        """Ids of the rows that are not replaced, ascending."""
        return (~self.absent).nonzero().squeeze(1)

    def is_poison(self, ids: Tensor) -> Tensor:
        """Return a bool for each of these ids: whether the row is poison."""
        return ids >= len(self.train)

    def rows(self, ids: Tensor) -> Split:
        """Return copies of the rows of these ids, in this order."""
        if self.poison is None:
            return Split(self.train.x[ids], self.train.y[ids])
        return Split(_select(self.train.x, self.poison.x, ids), _select(self.train.y, self.poison.y, ids))

    def hold(self, rows: Split, ids: Tensor) -> bool:
        """Return whether these are the very rows of these ids, in this order."""
        if len(rows.x) != len(ids) or len(rows.y) != len(ids):
            return False
        parts = zip(ids.split(_AT_ONCE), rows.x.split(_AT_ONCE), rows.y.split(_AT_ONCE), strict=True)
        return all(same(x, own.x) and same(y, own.y) for part, x, y in parts for own in [self.rows(part)])

    def shared_and_private(self, keep: Tensor | None = None) -> tuple[Tensor | None, Split | None]:
        """Return which train rows a victim leaves out, and which private rows it has beside the others.

        Args:
            keep: ``(N + n,)`` bool, true for the rows that a defence keeps; ``None`` for all.

        Returns:
            The ascending ids of the train rows that the victim leaves out, or ``None`` for none, and the poison that it
            trains on, or ``None`` if there is no poison. If a defence keeps no row of it, it is an empty split.
        """
        gone = self.absent if keep is None else self.absent | ~keep
        ids = gone[: len(self.train)].nonzero().squeeze(1)
        private = self.poison
        if private is not None and keep is not None:
            kept = keep[len(self.train) :]
            private = Split(private.x[kept], private.y[kept])
        return ids if len(ids) else None, private


def _select(first: Tensor, second: Tensor, ids: Tensor) -> Tensor:
    """Return ``torch.cat([first, second])[ids]`` without putting all of both together."""
    selected = first.new_empty(len(ids), *first.shape[1:])
    is_second = ids >= len(first)
    selected[~is_second] = first[ids[~is_second]]
    selected[is_second] = second[ids[is_second] - len(first)]
    return selected
