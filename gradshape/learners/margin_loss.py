"""Smooth losses of a margin, with the derivatives that Newton's method and implicit differentiation need."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from gradshape import _validate


class MarginLoss(Protocol):
    """A convex loss of the margin ``m = y (theta . x)`` of a row, twice differentiable. All methods are elementwise."""

    def value(self, margins: Tensor) -> Tensor:
        """Compute the loss."""
        ...

    def slope(self, margins: Tensor) -> Tensor:
        """Compute its first derivative."""
        ...

    def curvature(self, margins: Tensor) -> Tensor:
        """Compute its second derivative, at least 0."""
        ...


@dataclass(frozen=True)
class Logistic:
    """``log(1 + exp(-m))``, in natural logarithms. Slopes are in (-1, 0), curvatures in (0, 1/4].

    >>> round(Logistic().value(torch.zeros(1)).item(), 4)
    0.6931
    """

    def value(self, margins: Tensor) -> Tensor:
        return -logsigmoid(margins)

    def slope(self, margins: Tensor) -> Tensor:
        return -torch.sigmoid(-margins)

    def curvature(self, margins: Tensor) -> Tensor:
        return torch.sigmoid(margins) * torch.sigmoid(-margins)


@dataclass(frozen=True)
class SquaredMargin:
    """``(1 - m)^2 / 2``, which for labels of -1 and 1 is the squared error: the least-squares SVM, or ridge regression
    on the labels.

    >>> SquaredMargin().value(torch.tensor([-1.0, 1.0])).tolist()
    [2.0, 0.0]
    """

    def value(self, margins: Tensor) -> Tensor:
        return (1 - margins).square() / 2

    def slope(self, margins: Tensor) -> Tensor:
        return margins - 1

    def curvature(self, margins: Tensor) -> Tensor:
        return torch.ones_like(margins)


@dataclass(frozen=True)
class SmoothedHinge:
    """``t log(1 + exp((1 - m) / t))``, at most ``t log 2`` above the hinge ``max(0, 1 - m)``.

    Args:
        temperature: ``t``, in the unit of margins, greater than 0. Small ones come closer to the hinge and are harder
            to minimise.

    Raises:
        ValueError: ``temperature`` is not finite or not positive.

    Koh, Steinhardt and Liang 2018, with 0.001.

    >>> SmoothedHinge(0.01).value(torch.tensor([-1.0, 2.0])).tolist()
    [2.0, 0.0]
    """

    temperature: float = 0.1

    def __post_init__(self) -> None:
        _validate.positive(temperature=self.temperature)

    def value(self, margins: Tensor) -> Tensor:
        return -self.temperature * logsigmoid((margins - 1) / self.temperature)

    def slope(self, margins: Tensor) -> Tensor:
        return -torch.sigmoid((1 - margins) / self.temperature)

    def curvature(self, margins: Tensor) -> Tensor:
        z = (1 - margins) / self.temperature
        return torch.sigmoid(z) * torch.sigmoid(-z) / self.temperature
