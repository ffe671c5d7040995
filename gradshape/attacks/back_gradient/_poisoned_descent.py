"""A classifier that is trained on clean rows and poison points by plain gradient descent."""

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.attacks.back_gradient._flat_models import FlatModel
from gradshape.attacks.back_gradient._unrolled import back_gradient, descend, retrace


class PoisonedDescent:
    """A classifier after ``steps`` gradient steps on clean rows and poison points, and its loss on validation rows.

    Whenever a point moves, the classifier is trained anew from the same parameters.

    Args:
        model: the classifier.
        x: ``(n, d)`` float64 clean training rows, and
        y: ``(n,)`` int64 their labels.
        others: ``(m, d)`` validation rows, and
        other_y: ``(m,)`` their labels.
        start: ``(p,)`` the parameters to start from.
        rate: of the steps, on the weighted mean of the rows' losses.
        steps: of the descent.
        retraced: whether gradients follow the descent back approximately rather than keep its iterates.

    Attributes:
        points: ``(k, d)``.
        labels: ``(k,)`` of the points.
        parameters: ``(p,)`` after the last step.
        loss: mean loss on the validation rows; minus infinity if the descent diverged.

    Muñoz-González et al. 2017, Towards poisoning of deep learning algorithms with back-gradient optimization.
    """

    points: Tensor
    labels: Tensor
    parameters: Tensor
    loss: float

    def __init__(
        self,
        model: FlatModel,
        x: Tensor,
        y: Tensor,
        others: Tensor,
        other_y: Tensor,
        *,
        start: Tensor,
        rate: float,
        steps: int,
        retraced: bool = False,
    ) -> None:
        self.points, self.labels = x[:0], y[:0]
        self._model, self._x, self._y, self._others, self._other_y = model, x, y, others, other_y
        self._start, self._rate, self._steps, self._retraced = start, rate, steps, retraced
        self._weights = x.new_full((len(x),), 1 / len(x))
        self._train()

    @property
    def error(self) -> float:
        """The share of validation rows that it gets wrong."""
        predicted = self._model.scores(self.parameters, self._others).argmax(1)
        return float((predicted != self._other_y).double().mean())

    def add(self, row: Tensor, label: int, weight: float) -> None:
        """Add a point ``row (d,)`` that counts for ``weight`` training rows."""
        _validate.positive(weight=weight)
        self.points = torch.cat([self.points, row[None]])
        self.labels = torch.cat([self.labels, self.labels.new_full((1,), label)])
        weights = self._weights / self._weights[0]
        self._weights = torch.cat([weights, weights.new_full((1,), weight)])
        self._weights /= self._weights.sum()
        self._train()

    def at(self, point: int) -> Tensor:
        """Return the point ``(d,)``."""
        return self.points[point]

    def move(self, point: int, row: Tensor) -> None:
        """Move the point to ``row`` ``(d,)`` and train anew."""
        self.points = self.points.clone()
        self.points[point] = row
        self._train()

    def gradient(self, point: int) -> Tensor:
        """Return the ``(d,)`` gradient of ``loss`` with respect to the point, through the descent."""
        parameters = self.parameters.requires_grad_()
        with torch.enable_grad():
            [outer] = torch.autograd.grad(self._validation_loss(parameters), parameters)
        back = (
            retrace(self._objective, parameters.detach(), rate=self._rate, steps=self._steps)
            if self._path is None
            else self._path.flip(0)
        )
        return back_gradient(self._objective, outer, back, rate=self._rate).points[point]

    def _validation_loss(self, parameters: Tensor) -> Tensor:
        return self._model.losses(parameters, self._others, self._other_y).mean()

    def _train(self) -> None:
        labels = torch.cat([self._y, self.labels])
        self._objective = self._model.objective(self._x, labels, self._weights, points=self.points)
        path = descend(self._objective, self._start, rate=self._rate, steps=self._steps)
        self.parameters = path[-1].clone()
        self._path = None if self._retraced else path[:-1]
        loss = float(self._validation_loss(self.parameters))
        self.loss = loss if loss < torch.inf else -torch.inf


def stable_rate(model: FlatModel, x: Tensor, *, points: float) -> float:
    """Return a rate at which the descent is stable: one over a bound on the curvature of the mean loss on rows ``x (n,
    d)`` in [0, 1] and poison that weighs ``points`` rows, wherever in the box it is.

    >>> from gradshape.attacks.back_gradient._flat_models import Adaline
    >>> round(stable_rate(Adaline(1, 2), torch.ones(3, 1).double(), points=1.0), 6)  # (1, 1)(1, 1)^T has eigenvalue 2
    0.5
    """
    rows = torch.nn.functional.pad(x, (0, 1), value=1.0)
    clean = float(torch.linalg.matrix_norm(rows, 2)) ** 2
    return 1 / model.curvature((clean + points * rows.shape[1]) / (len(x) + points))
