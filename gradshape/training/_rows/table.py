"""The rows that the victims of one call train on, once each, and the order in which each victim sees its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradshape.data import Dataset
from gradshape.training._rows.order import CommonRows, OwnRows, PoissonRows
from gradshape.training.recipe import Sampling
from gradshape.training.victim import Victim


@dataclass(frozen=True, eq=False)
class RowTable:
    """The train split, followed by each distinct set of private rows once.

    Attributes:
        victims: who trains on the rows.
        x, y: ``(N, *shape)`` and ``(N,)`` all rows and labels.
        private: for each victim the ids of its private rows.
        train_rows: number of rows of the train split.
    """

    victims: Sequence[Victim]
    x: Tensor
    y: Tensor
    private: tuple[Tensor, ...]
    train_rows: int

    @classmethod
    def of(cls, dataset: Dataset, victims: Sequence[Victim]) -> "RowTable":
        """Collect the rows that ``victims`` train on."""
        train = dataset.train
        x, y = [train.x], [train.y]
        ids: dict[str, Tensor] = {}
        private_ids = []
        rows = len(train)
        for victim in victims:
            private = victim.private
            if private is None or len(private) == 0:
                private_ids.append(torch.empty(0, dtype=torch.int64))
                continue
            if private.fingerprint not in ids:
                ids[private.fingerprint] = torch.arange(rows, rows + len(private))
                rows += len(private)
                x.append(private.x)
                y.append(private.y)
            private_ids.append(ids[private.fingerprint])
        joined = (torch.cat(x), torch.cat(y)) if len(x) > 1 else (train.x, train.y)
        return cls(victims, *joined, tuple(private_ids), len(train))

    def __len__(self) -> int:
        return len(self.y)

    def kept(self, index: int) -> Tensor:
        """Return the ids of the train rows that victim number ``index`` trains on."""
        mask = torch.ones(self.train_rows, dtype=torch.bool)
        removed = self.victims[index].removed
        if removed is not None:
            mask[removed] = False
        return mask.nonzero().squeeze(1)

    def order(self, index: int) -> CommonRows:
        """Return the order in which one victim sees its rows."""
        victim = self.victims[index]
        kind = PoissonRows if victim.descent.sampling is Sampling.POISSON else CommonRows
        seeds, size = (victim.shuffle_seed, victim.seed), victim.descent.batch_size
        return kind(self.kept(index), self.private[index], self.train_rows, *seeds, size)

    def orders(self, members: Sequence[int]) -> list[CommonRows]:
        """Return the order of each member of a stack; members with the same rows have the same one."""
        orders: dict[tuple[str, int], CommonRows] = {}
        for index in members:
            own = private_rows(self.victims[index])
            if own not in orders:
                orders[own] = self.order(index)
        return [orders[private_rows(self.victims[index])] for index in members]

    def common_order(self, members: Sequence[int]) -> CommonRows | OwnRows:
        """Return one order for all members of a stack, which see the rows that they share at the same time."""
        first = self.victims[members[0]]
        if len({private_rows(self.victims[index]) for index in members}) == 1:
            return self.order(members[0])
        private = [self.private[index] for index in members]
        seeds = [self.victims[index].seed for index in members]
        kept, size = self.kept(members[0]), first.descent.batch_size
        return OwnRows(kept, private, seeds, self.train_rows, first.shuffle_seed, size)


def private_rows(victim: Victim) -> tuple[str, int]:
    """Return a name of a victim's private rows and their places in the shuffles."""
    if victim.private is None or len(victim.private) == 0:
        return "", 0
    return victim.private.fingerprint, victim.seed
