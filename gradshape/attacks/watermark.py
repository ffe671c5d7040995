"""Rows of one class blended with rows of another: poison that collides with clean features."""

from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.attacks._drawing import draw_rows
from gradshape.attacks.base import Attack, VictimView
from gradshape.attacks.poison_set import PoisonSet
from gradshape.attacks.threat import BLACK_BOX, Injection, ThreatModel
from gradshape.data import Dataset


@dataclass(frozen=True)
class Watermark(Attack):
    """Add interpolations between rows of two classes, labelled as the first.

    As many rows are drawn from either class, without replacement as long as there are enough, and paired in the order
    in which they were drawn; see :func:`overlay`. ``source`` has the rows of the first class.

    Args:
        alpha: share of the second class in every row, in [0, 1]: 0 repeats clean rows, 1 is flipping the labels of the
            second class.
        fraction: poison rows relative to the number of *clean* rows, in [0, 1]. 0 is valid and adds nothing.
        count: the number of poison rows instead of ``fraction``, >= 0; the paper has 100.
        classes: the class that poison is labelled as, and the class that is blended in.

    Raises:
        ValueError: not exactly one of ``fraction`` and ``count`` is given, a value is outside its range, or the two
            classes are the same.

    Hong et al. 2020, section 3.1 (feature collision), with alpha from 0.1 to 1; section 3.2.

    >>> from gradshape import data
    >>> poison = Watermark(0.4, count=100)(data.load("digits_38"), seed=0)
    >>> len(poison), poison.y.unique().tolist()
    (100, [0])
    """

    alpha: float
    fraction: float | None = None
    count: int | None = None
    _: KW_ONLY
    classes: tuple[int, int] = (0, 1)

    threat: ClassVar[ThreatModel] = replace(
        BLACK_BOX, injection=Injection.EITHER, source="Hong et al. 2020, section 3.1"
    )

    def __post_init__(self) -> None:
        _validate.fraction(alpha=self.alpha)
        if (self.fraction is None) == (self.count is None):
            raise ValueError(f"fraction={self.fraction!r} and count={self.count!r}: expected one of them, not both")
        if self.fraction is not None:
            _validate.fraction(fraction=self.fraction)
        if self.count is not None and not (isinstance(self.count, int) and self.count >= 0):
            raise ValueError(f"count={self.count!r}: expected an integer of at least 0")
        if self.classes[0] == self.classes[1] or min(self.classes) < 0:
            raise ValueError(f"classes={self.classes!r}: expected two different class ids")

    @property
    def label(self) -> str:
        pair = "" if self.classes == (0, 1) else "_{}on{}".format(*reversed(self.classes))
        size = f"{self.count}rows" if self.fraction is None else f"{100 * self.fraction:g}"
        return f"watermark{pair}_a{self.alpha:g}_{size}"

    def budget(self, train_rows: int) -> int:
        if self.count is not None:
            return self.count
        assert self.fraction is not None
        return round(self.fraction * train_rows)

    def unsuitable(self, dataset: Dataset) -> str | None:
        reason = super().unsuitable(dataset)
        if reason is not None:
            return reason
        absent = next((label for label in self.classes if not (dataset.train.y == label).any()), None)
        return None if absent is None else f"no training row is of class {absent}"

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        train = victim.train
        members = [(train.y == label).nonzero().squeeze(1) for label in self.classes]
        base, other = (rows[draw_rows(len(rows), count, generator)] for rows in members)
        x = overlay(train.x[base], train.x[other], alpha=self.alpha)
        return PoisonSet.added(x, train.y[base], source=base)


def overlay(base: Tensor, other: Tensor, *, alpha: float) -> Tensor:
    """Return ``clip((1 - alpha) base + alpha other, 0, 1)``, row by row.

    Args:
        base, other: ``(n, *shape)`` float32 in [0, 1].
        alpha: share of ``other``, in [0, 1]: exactly ``base`` for 0 and ``other`` for 1.

    Returns:
        ``(n, *shape)`` float32 in [0, 1].

    Raises:
        ValueError: the shapes differ, or ``alpha`` is outside [0, 1].

    Hong et al. 2020, section 3.1.

    >>> overlay(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 1.0]]), alpha=0.25).tolist()
    [[0.25, 1.0]]
    """
    _validate.fraction(alpha=alpha)
    if base.shape != other.shape:
        raise ValueError(f"base has shape {tuple(base.shape)} and other {tuple(other.shape)}: expected the same")
    # In float32 the two shares may add up to a little more than 1.
    return ((1 - alpha) * base.double() + alpha * other.double()).float().clamp(0, 1)
