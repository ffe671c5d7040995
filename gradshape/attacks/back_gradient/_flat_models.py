"""Small classifiers whose parameters are one vector, so that their training can be unrolled."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear, one_hot, pad

from gradshape.attacks.back_gradient._unrolled import DifferentiatedLoss, Objective


class FlatModel(Protocol):
    """A classifier of rows ``(n, d)`` in ``K`` classes with parameters ``(p,)``."""

    def start(self, generator: torch.Generator) -> Tensor:
        """Return ``(p,)`` float64 parameters to train from."""
        ...

    def scores(self, parameters: Tensor, x: Tensor) -> Tensor:
        """Return ``(n, K)``; the largest score is that of the predicted class."""
        ...

    def losses(self, parameters: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return ``(n,)`` training losses for labels ``y (n,)``."""
        ...

    def objective(self, x: Tensor, y: Tensor, weights: Tensor, *, points: Tensor) -> Objective:
        """Return the weighted sum of losses that a descent minimises.

        Args:
            x: ``(n, d)`` rows that stay.
            y: ``(n + k,)`` labels of these and of the points.
            weights: ``(n + k,)``.
            points: ``(k, d)`` rows that may move.
        """
        ...

    def curvature(self, largest: float) -> float:
        """Return a bound on the curvature of the mean loss (a guess, for networks) on rows whose mean ``(x, 1)(x,
        1)^T`` has the largest eigenvalue ``largest``. Gradient descent is stable at rates below 2 over the curvature.
        """
        ...


@dataclass(frozen=True)
class _Linear(ABC):
    inputs: int
    classes: int

    def start(self, generator: torch.Generator) -> Tensor:
        return torch.zeros(self.classes * (self.inputs + 1), dtype=torch.float64)

    def scores(self, parameters: Tensor, x: Tensor) -> Tensor:
        table = parameters.view(self.classes, self.inputs + 1)
        return linear(x, table[:, :-1], table[:, -1])

    def objective(self, x: Tensor, y: Tensor, weights: Tensor, *, points: Tensor) -> Objective:
        rows = pad(torch.cat([x, points.detach()]), (0, 1), value=1.0)
        return _ScoredLoss(self, rows, one_hot(y, self.classes).to(rows.dtype), weights[:, None], len(points))

    @abstractmethod
    def slopes(self, scores: Tensor, hot: Tensor) -> Tensor:
        """Return ``(n, K)`` gradients of the losses by the scores, for one-hot labels ``hot (n, K)``."""

    @abstractmethod
    def bend(self, scores: Tensor, by: Tensor) -> Tensor:
        """Return ``(n, K)`` products of each loss' Hessian, by the scores, with ``by (n, K)``."""


@dataclass(frozen=True, eq=False)
class _ScoredLoss(Objective):
    """The weighted sum of losses of scores that are linear in the parameters, in closed form.

    Attributes:
        model: gives the derivatives by the scores.
        rows: ``(n + k, d + 1)`` with a 1 appended; the last ``moving`` may move.
        hot: ``(n + k, K)`` one-hot labels.
        weights: ``(n + k, 1)``.
    """

    model: _Linear
    rows: Tensor
    hot: Tensor
    weights: Tensor
    moving: int

    def slope(self, parameters: Tensor) -> Tensor:
        slopes = self.weights * self.model.slopes(self.rows @ self._table(parameters).T, self.hot)
        return (slopes.T @ self.rows).flatten()

    def slope_gradients(self, parameters: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
        table, direction = self._table(parameters), self._table(along)
        scores = self.rows @ table.T
        bent = self.weights * self.model.bend(scores, self.rows @ direction.T)
        last = slice(len(self.rows) - self.moving, None)
        slopes = self.weights[last] * self.model.slopes(scores[last], self.hot[last])
        by_points = bent[last] @ table[:, :-1] + slopes @ direction[:, :-1]
        return (bent.T @ self.rows).flatten(), by_points

    def _table(self, parameters: Tensor) -> Tensor:
        return parameters.view(self.model.classes, self.model.inputs + 1)


@dataclass(frozen=True)
class SoftmaxRegression(_Linear):
    """Logistic regression, trained from 0 by cross-entropy in natural logarithms.

    >>> model = SoftmaxRegression(2, 3)
    >>> start = model.start(torch.Generator())
    >>> round(model.losses(start, torch.ones(1, 2).double(), torch.tensor([1])).item(), 4)  # log 3
    1.0986
    """

    def losses(self, parameters: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(self.scores(parameters, x), y, reduction="none")

    def slopes(self, scores: Tensor, hot: Tensor) -> Tensor:
        return scores.softmax(1) - hot

    def bend(self, scores: Tensor, by: Tensor) -> Tensor:
        shares = scores.softmax(1)
        return shares * (by - (shares * by).sum(1, keepdim=True))

    def curvature(self, largest: float) -> float:
        return largest / 2


@dataclass(frozen=True)
class Adaline(_Linear):
    """Least squares on targets of 1 for the class and -1 for each other one, half the squares summed; trained from 0.

    >>> model = Adaline(2, 3)
    >>> model.losses(model.start(torch.Generator()), torch.ones(1, 2).double(), torch.tensor([1])).item()
    1.5
    """

    def losses(self, parameters: Tensor, x: Tensor, y: Tensor) -> Tensor:
        targets = 2 * one_hot(y, self.classes) - 1
        return (self.scores(parameters, x) - targets).square().sum(1) / 2

    def slopes(self, scores: Tensor, hot: Tensor) -> Tensor:
        return scores - (2 * hot - 1)

    def bend(self, scores: Tensor, by: Tensor) -> Tensor:
        return by

    def curvature(self, largest: float) -> float:
        return largest


@dataclass(frozen=True)
class TanhNetwork:
    """One hidden layer of ``hidden`` tanh units, trained by cross-entropy from uniform weights within one over the root
    of a unit's inputs.

    >>> model = TanhNetwork(inputs=4, classes=2, hidden=3)
    >>> len(model.start(torch.Generator()))  # 3 * (4 + 1) + 2 * (3 + 1)
    23
    """

    inputs: int
    classes: int
    hidden: int = 10

    def start(self, generator: torch.Generator) -> Tensor:
        sizes = self._sizes
        fan_in = [self.inputs, self.inputs, self.hidden, self.hidden]
        ends = torch.cat(
            [torch.full((size,), fan**-0.5, dtype=torch.float32) for size, fan in zip(sizes, fan_in, strict=True)]
        ).double()
        return ends * (2 * torch.rand(len(ends), generator=generator, dtype=torch.float64) - 1)

    def scores(self, parameters: Tensor, x: Tensor) -> Tensor:
        first, first_bias, second, second_bias = parameters.split(self._sizes)
        units = linear(x, first.view(self.hidden, self.inputs), first_bias).tanh()
        return linear(units, second.view(self.classes, self.hidden), second_bias)

    def losses(self, parameters: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(self.scores(parameters, x), y, reduction="none")

    def objective(self, x: Tensor, y: Tensor, weights: Tensor, *, points: Tensor) -> Objective:
        def loss(parameters: Tensor, points: Tensor) -> Tensor:
            return weights @ self.losses(parameters, torch.cat([x, points]), y)

        return DifferentiatedLoss(loss, points)

    def curvature(self, largest: float) -> float:
        return max(largest / 2, self.hidden / 2)

    @property
    def _sizes(self) -> list[int]:
        return [self.hidden * self.inputs, self.hidden, self.classes * self.hidden, self.classes]
