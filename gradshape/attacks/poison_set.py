"""What an attack crafts: rows with labels, where they come from, and which targets they are for."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from gradshape import _digest
from gradshape.data import Dataset, PoisonedRows, Split


@dataclass(frozen=True, eq=False)
class Aims:
    """Which target each poison row of a targeted attack is for, and what it was made from.

    Attributes:
        target: ``(n,)`` int64 places among the targets that the attack was given, ascending.
        base: ``(n,)`` int64 ids of the test rows that the poison was made from.
        distance: ``(n,)`` float32, Euclidean distance of the poison's features from the target's, mean over the
            networks that it was crafted on, at least 0.

    Within a target the rows stand in the order in which the attack would use them.
    """

    target: Tensor
    base: Tensor
    distance: Tensor

    def __getitem__(self, rows: Tensor) -> "Aims":
        return Aims(self.target[rows], self.base[rows], self.distance[rows])

    def cpu(self) -> "Aims":
        """Return the same on the CPU."""
        return Aims(self.target.cpu(), self.base.cpu(), self.distance.cpu())


@dataclass(frozen=True, eq=False)
class PoisonSet:
    """Crafted rows.

    Attributes:
        x: ``(n, *shape)`` float32 in [0, 1].
        y: ``(n,)`` int64 labels that the rows are given; for regression float32 values in [0, 1].
        source: ``(n,)`` int64 ids of the train rows that they were made from, -1 where there is none.
        replaced: ``(m,)`` int64 ids of train rows that they take the place of; empty if they are added.
        notes: finite numbers that the attack knows of its poison, such as a certified bound; they go into records.
        aims: which target each row is for, if the attack has several targets at once; else ``None``.
    """

    x: Tensor
    y: Tensor
    _: KW_ONLY
    source: Tensor
    replaced: Tensor
    notes: Mapping[str, float] = field(default_factory=dict)
    aims: Aims | None = None

    @classmethod
    def empty(cls, dataset: Dataset) -> "PoisonSet":
        """Return an empty poison set for ``dataset``."""
        none = torch.empty(0, dtype=torch.int64)
        return cls(
            torch.empty(0, *dataset.input_shape, dtype=torch.float32),
            torch.empty(0, dtype=dataset.train.y.dtype),
            source=none,
            replaced=none,
        )

    @classmethod
    def added(
        cls,
        x: Tensor,
        y: Tensor,
        *,
        source: Tensor | None = None,
        notes: Mapping[str, float] | None = None,
        aims: Aims | None = None,
    ) -> "PoisonSet":
        """Return rows that are added to the train rows; ``source`` is -1 for every row if omitted."""
        origin = torch.full((len(y),), -1, dtype=torch.int64) if source is None else source
        return cls(x, y, source=origin, replaced=torch.empty(0, dtype=torch.int64), notes=notes or {}, aims=aims)

    def __len__(self) -> int:
        return len(self.y)

    def cpu(self) -> "PoisonSet":
        """Return the same rows on the CPU."""
        aims = None if self.aims is None else self.aims.cpu()
        return PoisonSet(
            self.x.cpu(),
            self.y.cpu(),
            source=self.source.cpu(),
            replaced=self.replaced.cpu(),
            notes=self.notes,
            aims=aims,
        )

    def select(self, rows: Tensor) -> "PoisonSet":
        """Return the poison rows at these places, ``(m,)`` int64, as a set that is added; its notes are left out."""
        aims = None if self.aims is None else self.aims[rows]
        return PoisonSet.added(self.x[rows], self.y[rows], source=self.source[rows], aims=aims)

    def against(self, target: int) -> "PoisonSet":
        """Return the rows that are for the target at this place, in the order in which the attack would use them.

        Raises:
            ValueError: the set does not say which target its rows are for.
        """
        if self.aims is None:
            raise ValueError(f"target={target!r}: this poison set does not say which target its rows are for")
        return self.select((self.aims.target == target).nonzero().squeeze(1))

    @cached_property
    def rows(self) -> Split:
        """The rows as a split to train on."""
        return Split(self.x, self.y)

    def among(self, train: Split) -> PoisonedRows:
        """Return these rows among the clean ones that they are added to, or take the place of."""
        return PoisonedRows(train, self.rows, self.replaced)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) over all four arrays."""
        return _digest.of(self.x, self.y, self.source, self.replaced)
