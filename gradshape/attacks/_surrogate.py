"""The rows that an attacker trains and validates a surrogate on, and the few points that stand for his budget."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.data import Split, stratified_order


@dataclass(frozen=True, eq=False)
class Holdout:
    """Some of the victim's training rows, in two parts.

    Attributes:
        train, validation: ``(n,)`` and ``(m,)`` int64 ids, ascending; they share none.
    """

    train: Tensor
    validation: Tensor


def hold_out(data: Split, *, train: int, validation: int, generator: torch.Generator) -> Holdout:
    """Draw rows for an attacker's surrogate; both parts have the shares of the classes that ``data`` has.

    Args:
        data: the clean training rows; only their labels are looked at.
        train: rows to train the surrogate on, at most; never more than half of ``data``.
        validation: rows to measure its loss on, at most.
        generator: of the draw.

    Raises:
        ValueError: a number is below 1, or ``data`` has fewer than 2 rows, or the rows to train on would all be of one
            class.

    >>> data = Split(torch.zeros(10, 1), torch.tensor([0] * 6 + [1] * 4))
    >>> rows = hold_out(data, train=100, validation=3, generator=torch.Generator().manual_seed(0))
    >>> sorted(data.y[rows.train].tolist()), len(rows.validation)
    ([0, 0, 0, 1, 1], 3)
    """
    _validate.positive_int(train=train, validation=validation)
    if len(data) < 2:
        raise ValueError(f"{len(data)} training rows: expected at least 2, one to train on and one to validate by")
    order = stratified_order(data.y, generator=generator)
    first = min(train, len(data) // 2)
    classes = data.y[order[:first]].unique()
    if len(classes) < 2:
        raise ValueError(
            f"the attacker's {first} training rows are all of class {classes.item()}: expected two classes or more, so "
            "more rows of the others"
        )
    order = order.to(data.y.device)
    return Holdout(order[:first].sort().values, order[first : first + validation].sort().values)


@dataclass(frozen=True)
class PointBudget:
    """The number and the weight of the points that stand for a budget of poison rows.

    The attacker poisons his own training rows at the same rate as the victim's, with ``mass = budget * own_rows /
    victim_rows`` rows. That is also the number of points that he optimises, rounded, but at least 1 and at most
    ``most_points`` or the budget. Each point weighs ``mass / points`` rows in the surrogate's training, and the points
    are repeated by turns to fill the budget. Where the victim trains on as many rows as the attacker and
    ``most_points`` is no bound, every row of the budget is a point of its own.

    Attributes:
        points: points to optimise, at least 1.
        weight: number of training rows that each point counts for, above 0.
    """

    points: int
    weight: float

    @classmethod
    def shared(cls, budget: int, *, own_rows: int, victim_rows: int, most_points: int) -> "PointBudget":
        """Share out ``budget`` poison rows for ``victim_rows`` clean ones.

        >>> PointBudget.shared(4320, own_rows=100, victim_rows=10800, most_points=20)
        PointBudget(points=20, weight=2.0)
        """
        mass = budget * own_rows / victim_rows
        points = max(1, min(round(mass), most_points, budget))
        return cls(points, mass / points)

    def fill(self, budget: int) -> Tensor:
        """Return ``(budget,)`` int64: the place of the point that each poison row copies."""
        return torch.arange(budget) % self.points
