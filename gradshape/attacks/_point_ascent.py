"""Projected gradient ascent of poison points on a learner's loss, inside the box [0, 1]."""

from typing import Protocol

import torch
from torch import Tensor

# A gradient not longer than this is taken for 0, and a change of the loss not larger than this for none.
_NO_GRADIENT, _NO_CHANGE = 1e-7, 1e-9
_SHORTEST = 0.01


class Poisoned(Protocol):
    """A learner that is retrained whenever a poison point moves.

    Attributes:
        loss: its loss on the attacker's validation rows, which the attacker raises.
    """

    loss: float

    def add(self, row: Tensor, label: int, weight: float) -> None:
        """Add a point ``row (d,)`` that counts for ``weight`` training rows, as the last one."""
        ...

    def at(self, point: int) -> Tensor:
        """Return the point ``(d,)``."""
        ...

    def move(self, point: int, row: Tensor) -> None:
        """Move the point to ``row`` ``(d,)`` and retrain."""
        ...

    def gradient(self, point: int) -> Tensor:
        """Return the ``(d,)`` gradient of ``loss`` with respect to the point."""
        ...


def add_best(learner: Poisoned, rows: Tensor, label: int, weight: float) -> int:
    """Add as a point the one of ``rows (n, d)`` that raises the loss most, and return its place among them."""
    learner.add(rows[0], label, weight)
    losses = [learner.loss]
    for row in rows[1:]:
        learner.move(-1, row)
        losses.append(learner.loss)
    best = losses.index(max(losses))
    if best < len(rows) - 1:
        learner.move(-1, rows[best])
    return best


def climb(
    learner: Poisoned, point: int, *, step: float, steps: int, tolerance: float, direction: Tensor | None = None
) -> None:
    """Move a point up the loss by steps along the gradient's direction, each cut off at the box.

    A step is kept only if it raises the loss by ``tolerance``. If it does so at once, the next step is twice as long;
    if not, half the length is tried, and the climb ends where that is shorter than ``step / 100``. Where the gradient
    vanishes, the last direction is followed, and steps that do not change the loss are kept, so that a plateau is
    crossed.

    Args:
        learner: holds the point; its loss never falls by more than rounding.
        point: place of the point.
        step: length of the first step, in the unit of features.
        steps: most steps.
        tolerance: the least gain of a step.
        direction: ``(d,)`` to be followed if the gradient vanishes at once; the climb then ends if it is omitted.
    """
    length, heading = step, None if direction is None else _unit(inside(direction, learner.at(point)))
    for _ in range(steps):
        start, loss = learner.at(point).clone(), learner.loss
        gradient = inside(learner.gradient(point), start)
        flat = not float(gradient.norm()) > _NO_GRADIENT
        if not flat:
            heading = _unit(gradient)
        if heading is None:
            return
        least = loss - _NO_CHANGE if flat else loss + tolerance
        tried = length
        while length >= _SHORTEST * step:
            reached = (start + length * heading).clamp(0, 1)
            if torch.equal(reached, start):
                return
            learner.move(point, reached)
            if learner.loss >= least:
                break
            length /= 2
        else:
            learner.move(point, start)
            return
        if length == tried:
            length *= 2


def inside(gradient: Tensor, at: Tensor) -> Tensor:
    """Return ``gradient`` without the parts that lead out of the box.

    >>> inside(torch.tensor([-1.0, 1.0, 1.0]), torch.tensor([0.0, 0.0, 1.0])).tolist()
    [0.0, 1.0, 0.0]
    """
    blocked = ((at <= 0) & (gradient < 0)) | ((at >= 1) & (gradient > 0))
    return gradient.masked_fill(blocked, 0)


def _unit(vector: Tensor) -> Tensor:
    unit: Tensor = vector / vector.norm().clamp_min(torch.finfo(vector.dtype).tiny)
    return unit
