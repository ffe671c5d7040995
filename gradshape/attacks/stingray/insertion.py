"""Ways to put features of a target into rows: words are switched on, pixels are nudged."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.data import Dataset


class Insertion(Protocol):
    """A way to give rows some of a target's features."""

    @property
    def label(self) -> str:
        """What it adds to the label of an attack: nothing, or a part that starts with ``_``."""

    def unsuitable(self, dataset: Dataset) -> str | None:
        """Return why rows of this data cannot be given features in this way; ``None`` if they can."""

    def insert(self, base: Tensor, target: Tensor, *, known: Tensor, generator: torch.Generator) -> Tensor:
        """Copy ``base`` ``(n, d)`` with some features of ``target`` ``(d,)``, only those that are ``known`` ``(d,)``
        bool.

        The generator is the CPU's; whatever is drawn is moved to where ``base`` is.
        """


@dataclass(frozen=True)
class SwitchOn:
    """The binary form: switch on random features that the target has and the base lacks.

    Nothing that the base has is taken away.

    Args:
        features: number of features switched on in each row, at least 1; fewer if fewer are missing.

    Raises:
        ValueError: the number is out of range.

    Suciu et al. 2018. The default is this library's.

    >>> base, target = torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.tensor([0.0, 1.0, 1.0, 0.0])
    >>> known = torch.tensor([True, True, False, True])
    >>> SwitchOn(3).insert(base, target, known=known, generator=torch.Generator().manual_seed(0)).tolist()
    [[1.0, 1.0, 0.0, 0.0]]
    """

    features: int = 10

    def __post_init__(self) -> None:
        _validate.positive_int(features=self.features)

    @property
    def label(self) -> str:
        return "" if self.features == type(self).features else f"_f{self.features}"

    def unsuitable(self, dataset: Dataset) -> str | None:
        for x in (dataset.train.x, dataset.test.x):
            other = x[(x != 0) & (x != 1)]
            if len(other):
                return f"its rows hold the value {other[0]:g}: expected 1 for a feature that is present, else 0"
        return None

    def insert(self, base: Tensor, target: Tensor, *, known: Tensor, generator: torch.Generator) -> Tensor:
        chosen = random_subset((target > base) & known, self.features, generator=generator)
        return torch.where(chosen, target, base)


@dataclass(frozen=True)
class Nudge:
    """The form for pictures: move random values towards the target's, each by a step at most.

    With small steps the pictures look like the base, whose label they keep. Every channel of a pixel is a value of its
    own.

    Args:
        share: share of a row's values that are moved, in (0, 1], at least one value; fewer if fewer differ.
        step: largest change of a value, in (0, 1].

    Raises:
        ValueError: a number is out of range.

    Suciu et al. 2018, from memory, for they publish no code of it: they nudge pixels towards the target while the label
    still holds. That random values move, by a bounded step, and the defaults are this library's.

    >>> base, target = torch.tensor([[0.5, 0.5, 0.5]]), torch.tensor([1.0, 0.375, 0.5])
    >>> known = torch.ones(3, dtype=torch.bool)
    >>> Nudge(1, step=0.25).insert(base, target, known=known, generator=torch.Generator().manual_seed(0)).tolist()
    [[0.75, 0.375, 0.5]]
    """

    share: float = 0.2
    step: float = 0.2

    def __post_init__(self) -> None:
        _validate.positive_fraction(share=self.share, step=self.step)

    @property
    def label(self) -> str:
        share = "" if self.share == type(self).share else f"_share{100 * self.share:g}"
        return f"_nudge{share}{'' if self.step == type(self).step else f'_step{self.step:g}'}"

    def unsuitable(self, dataset: Dataset) -> str | None:
        return None

    def insert(self, base: Tensor, target: Tensor, *, known: Tensor, generator: torch.Generator) -> Tensor:
        count = max(1, round(self.share * len(target)))
        chosen = random_subset((target != base) & known, count, generator=generator)
        moved = (base + (target - base).clamp(-self.step, self.step)).clamp(0, 1)
        return torch.where(chosen, moved, base)


def random_subset(eligible: Tensor, count: int, *, generator: torch.Generator) -> Tensor:
    """Draw ``count`` of the eligible places of every row, or all of them where there are fewer.

    Args:
        eligible: ``(n, d)`` bool.
        count: at least 1.
        generator: the CPU's.

    Returns:
        ``(n, d)`` bool.

    >>> eligible = torch.tensor([[True, False, True, True], [False, True, False, False]])
    >>> random_subset(eligible, 2, generator=torch.Generator().manual_seed(0)).sum(1).tolist()
    [2, 1]
    """
    rank = (
        torch.rand(eligible.shape, generator=generator, dtype=torch.float32)
        .to(eligible.device)
        .masked_fill(~eligible, -math.inf)
    )
    first = rank.topk(min(count, eligible.shape[1]), dim=1).indices
    return torch.zeros_like(eligible).scatter(1, first, True) & eligible
