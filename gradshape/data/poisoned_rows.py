"""Clean training rows with poison among them: which rows there are, and which ids they have."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gradshape.data.base import Split


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
        """Return the rows of these ids, in this order."""
        if self.poison is None:
            return Split(self.train.x[ids], self.train.y[ids])
        return Split(torch.cat([self.train.x, self.poison.x])[ids], torch.cat([self.train.y, self.poison.y])[ids])

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
