"""Which rows each step sees.

Every training row draws a key each epoch, train rows from one stream and private rows from another, and the
keys' order is the shuffle. That is a uniform shuffle of all rows together; and since a train row's key does not
depend on the private rows, victims with equal shuffle seeds see the train rows in the same relative order,
whatever each of them adds. Their batches are then windows of one common sequence, a few rows apart, so a stack
can push the rows that they share through one matrix product. Under Poisson sampling a step is no window: there
victims share a stack only if they have the same rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradshape import _seeds
from gradshape.training.recipe import steps_per_epoch


@dataclass(frozen=True, eq=False)
class BatchIds:
    """The rows of one step of a stack of ``K`` victims, as ids into the stack's table of rows.

    Attributes:
        shared: ``(B,)`` ids of the rows that go through the common matrix product.
        private: ``(K, S)`` ids of the rows that one victim each trains on; ``None`` if no victim has any.
        member: ``(K, B + S)`` bool, whether the row belongs to the victim's batch; ``None`` if all do.
    """

    shared: Tensor
    private: Tensor | None = None
    member: Tensor | None = None


def train_keys(shuffle_seed: int, epoch: int, rows: int) -> Tensor:
    """Draw ``(rows,)`` float64 keys of the data set's train rows."""
    return torch.rand(rows, dtype=torch.float64, generator=_seeds.stream(shuffle_seed, "order", epoch))


def private_keys(seed: int, epoch: int, rows: int) -> Tensor:
    """Draw ``(rows,)`` float64 keys of a victim's private rows."""
    return torch.rand(rows, dtype=torch.float64, generator=_seeds.stream(seed, "private order", epoch))


@dataclass(frozen=True, eq=False)
class CommonRows:
    """The order of a stack whose victims all train on the same rows at the same time.

    Args:
        kept: ``(n,)`` ids of train rows in the table.
        private: ``(p,)`` ids of the private rows in the table.
        train_rows: number of train rows of the data set, removed ones included.
        shuffle_seed, seed: those of the victims.
        batch_size: number of rows a step.
    """

    kept: Tensor
    private: Tensor
    train_rows: int
    shuffle_seed: int
    seed: int
    batch_size: int

    @property
    def rows_per_step(self) -> int:
        return min(self.batch_size, len(self.kept) + len(self.private))

    def epoch(self, epoch: int) -> Iterator[BatchIds]:
        """Yield the steps of epoch number ``epoch``, from 0."""
        ids = torch.cat([self.kept, self.private])
        keys = torch.cat(
            [
                train_keys(self.shuffle_seed, epoch, self.train_rows)[self.kept],
                private_keys(self.seed, epoch, len(self.private)),
            ]
        )
        order = ids[keys.argsort()]
        size = self.rows_per_step
        for step in range(steps_per_epoch(len(ids), self.batch_size)):
            yield BatchIds(order[step * size : (step + 1) * size])


@dataclass(frozen=True, eq=False)
class PoissonRows(CommonRows):
    """The order of a stack whose victims all train on the same rows, each of which enters each step independently.

    The probability is ``rows_per_step / n`` for ``n`` rows; ``rows_per_step``, the expected size of a batch, is what a
    step divides by. A batch may be empty. Which train rows are drawn depends on the shuffle's seed alone, which
    private rows on the victim's.
    """

    def epoch(self, epoch: int) -> Iterator[BatchIds]:
        """Yield the steps of epoch number ``epoch``, from 0."""
        ids = torch.cat([self.kept, self.private])
        rate = self.rows_per_step / len(ids)
        train = _seeds.stream(self.shuffle_seed, "poisson", epoch)
        private = _seeds.stream(self.seed, "private poisson", epoch)
        for _ in range(steps_per_epoch(len(ids), self.batch_size)):
            drawn = torch.cat(
                [
                    torch.rand(self.train_rows, dtype=torch.float64, generator=train)[self.kept],
                    torch.rand(len(self.private), dtype=torch.float64, generator=private),
                ]
            )
            yield BatchIds(ids[drawn < rate])


@dataclass(frozen=True, eq=False)
class OwnRows:
    """The order of a stack whose victims share the train rows and their order, and add a few rows of their own each.

    Args:
        kept: ``(n,)`` ids of train rows in the table.
        private: for each victim the ids ``(p_k,)`` of its private rows in the table; all make equally many steps an
            epoch.
        seeds: one a victim.
        train_rows, shuffle_seed, batch_size: as in :class:`CommonRows`.
    """

    kept: Tensor
    private: Sequence[Tensor]
    seeds: Sequence[int]
    train_rows: int
    shuffle_seed: int
    batch_size: int

    @property
    def rows_per_step(self) -> int:
        return min(self.batch_size, len(self.kept) + len(self.private[0]))

    def epoch(self, epoch: int) -> Iterator[BatchIds]:
        """Yield the steps of epoch number ``epoch``, from 0."""
        keys, order = train_keys(self.shuffle_seed, epoch, self.train_rows)[self.kept].sort()
        shared = self.kept[order]
        most = max(len(ids) for ids in self.private)
        total = len(self.kept) + most
        # place[k, j] is the position of victim k's j-th private row in its shuffle; past the end if it has no j-th row.
        place = torch.full((len(self.private), most), total + self.batch_size)
        row = torch.zeros((len(self.private), most), dtype=torch.int64)
        for k, (ids, seed) in enumerate(zip(self.private, self.seeds, strict=True)):
            own, own_order = private_keys(seed, epoch, len(ids)).sort()
            place[k, : len(ids)] = torch.searchsorted(keys, own) + torch.arange(len(ids))
            row[k, : len(ids)] = ids[own_order]
        size = self.rows_per_step
        count = steps_per_epoch(len(self.kept) + len(self.private[0]), self.batch_size)
        bounds = torch.arange(count + 1) * size
        before = torch.searchsorted(place, bounds.expand(len(self.private), -1).contiguous())
        for step in range(count):
            first, stop = before[:, step], before[:, step + 1]
            start, end = bounds[step] - first, bounds[step + 1] - stop
            yield _window(shared, row, start, end, first, stop)


def _window(shared: Tensor, row: Tensor, start: Tensor, end: Tensor, first: Tensor, stop: Tensor) -> BatchIds:
    low, high = int(start.min()), int(end.max())
    ids = shared[low:high]
    slots = int((stop - first).max())
    if slots == 0 and bool((start == low).all() and (end == high).all()):
        return BatchIds(ids)
    position = torch.arange(low, high)
    inside = (position >= start[:, None]) & (position < end[:, None])
    if slots == 0:
        return BatchIds(ids, None, inside)
    index = first[:, None] + torch.arange(slots)
    used = index < stop[:, None]
    private = row.gather(1, index.clamp_max(row.shape[1] - 1))
    return BatchIds(ids, private, torch.cat([inside, used], dim=1))
