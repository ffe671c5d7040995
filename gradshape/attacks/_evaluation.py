"""Costs by which an attacker judges a linear classifier while he crafts."""

from dataclasses import dataclass, field

from torch import Tensor

from gradshape.learners.margin_loss import Logistic, MarginLoss


@dataclass(frozen=True, eq=False)
class Evaluation:
    """``weight`` times the mean loss on rows, as a function of the classifier's parameters.

    Attributes:
        x: ``(m, d)`` float64.
        signs: ``(m,)`` labels -1 and 1.
        weight: factor of the mean loss; its sign says whether the loss on these labels is to grow or to shrink.
        loss: of the margins; logistic if omitted.
    """

    x: Tensor
    signs: Tensor
    weight: float = 1.0
    loss: MarginLoss = field(default=Logistic())

    def value(self, theta: Tensor) -> Tensor:
        """Return ``(K,)`` values at the parameters ``theta`` ``(K, d)``."""
        return self.weight * self.loss.value(self.signs * (theta @ self.x.mT)).mean(-1)

    def gradient(self, theta: Tensor) -> Tensor:
        """Return ``(K, d)`` gradients of :meth:`value`."""
        slopes = self.signs * self.loss.slope(self.signs * (theta @ self.x.mT))
        return self.weight / len(self.signs) * (slopes @ self.x)


@dataclass(frozen=True, eq=False)
class ParameterDistance:
    """Half the squared distance from the parameters that the attacker aims at.

    Attributes:
        goal: ``(d,)`` float64 these parameters.
    """

    goal: Tensor

    def value(self, theta: Tensor) -> Tensor:
        """Return ``(K,)`` values at the parameters ``theta`` ``(K, d)``."""
        return (theta - self.goal).square().sum(-1) / 2

    def gradient(self, theta: Tensor) -> Tensor:
        """Return ``(K, d)`` gradients of :meth:`value`."""
        return theta - self.goal


Cost = Evaluation | ParameterDistance
