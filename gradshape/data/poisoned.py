"""Clean training rows with poison among them: which rows there are, and by which numbers."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gradshape.data.base import Split


@dataclass(frozen=True, eq=False)
class PoisonedRows:
    """The train rows less those that poison replaces, then the poison.

    A row is called by its id: ``0 ... N - 1`` for train rows, ``N ... N + n - 1`` for poison. Masks have one value an
    id, replaced rows included.

    Args:
        train: the ``N`` clean rows.
        poison: ``n`` crafted rows; ``None`` for none.
        replaced: ``(m,)`` int64 ids of train rows that are left out; ``None`` for none.
    """

    train: Split
    poison: Split | None = None
    replaced: Tensor | None = None

    def __len__(self) -> int:
        """Number of ids, ``N + n``."""
        return len(self.train) + (0 if self.poison is None else len(self.poison))

    @cached_property
    def absent(self) -> Tensor:
        """``(N + n,)`` bool: the replaced rows."""
        absent = torch.zeros(len(self), dtype=torch.bool)
        if self.replaced is not None:
            absent[self.replaced] = True
        return absent

    @property
    def present(self) -> Tensor:
        """Ids of the rows that there are, ascending."""
        return (~self.absent).nonzero().squeeze(1)

    def is_poison(self, ids: Tensor) -> Tensor:
        """Which of these rows are poison, bool."""
        return ids >= len(self.train)

    def rows(self, ids: Tensor) -> Split:
        """These rows, in this order."""
        if self.poison is None:
            return Split(self.train.x[ids], self.train.y[ids])
        return Split(torch.cat([self.train.x, self.poison.x])[ids], torch.cat([self.train.y, self.poison.y])[ids])

    def shared_and_private(self, keep: Tensor | None = None) -> tuple[Tensor | None, Split | None]:
        """What a victim leaves out of the train rows, and what it has beside them.

        Args:
            keep: ``(N + n,)`` bool, the rows that a defence keeps; ``None`` for all.

        Returns:
            Ascending ids of the train rows that it does not train on, and the poison that it trains on; ``None`` where
            there are none. (Poison of which no row is kept is a split of none.)
        """
        gone = self.absent if keep is None else self.absent | ~keep
        ids = gone[: len(self.train)].nonzero().squeeze(1)
        private = self.poison
        if private is not None and keep is not None:
            kept = keep[len(self.train) :]
            private = Split(private.x[kept], private.y[kept])
        return ids if len(ids) else None, private
