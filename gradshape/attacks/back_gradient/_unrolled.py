"""Plain gradient descent, and back-gradients: how its last iterate moves with the training rows."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gradshape import _validate

Loss = Callable[[Tensor, Tensor], Tensor]
"""``loss(parameters, points)``, a twice differentiable scalar of ``(p,)`` parameters and of rows that may move."""


class Objective(Protocol):
    """What a descent minimises over ``(p,)`` parameters: a loss of these and of points, which it holds."""

    def slope(self, parameters: Tensor) -> Tensor:
        """Return the ``(p,)`` gradient of the loss by the parameters."""
        ...

    def slope_gradients(self, parameters: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
        """Return gradients of ``slope(parameters) . along``, for a fixed ``along`` ``(p,)``.

        They are ``(p,)`` by the parameters, and of the points' shape by the points.
        """
        ...


@dataclass(frozen=True, eq=False)
class DifferentiatedLoss(Objective):
    """Any loss, differentiated by autograd.

    Attributes:
        loss: of parameters and points.
        points: its second argument.
    """

    loss: Loss
    points: Tensor

    def slope(self, parameters: Tensor) -> Tensor:
        at = parameters.detach().requires_grad_()
        with torch.enable_grad():
            [slope] = torch.autograd.grad(self.loss(at, self.points.detach()), at)
        return slope

    def slope_gradients(self, parameters: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
        at, points = parameters.detach().requires_grad_(), self.points.detach().requires_grad_()
        with torch.enable_grad():
            [slope] = torch.autograd.grad(self.loss(at, points), at, create_graph=True)
            by_parameters, by_points = torch.autograd.grad(slope @ along, [at, points])
        return by_parameters, by_points


@dataclass(frozen=True, eq=False)
class DescentGradient:
    """Gradients of an objective of the last iterate.

    Attributes:
        points: with respect to the points, of their shape.
        start: with respect to the first iterate, ``(p,)``.
    """

    points: Tensor
    start: Tensor


def descend(objective: Objective, start: Tensor, *, rate: float, steps: int) -> Tensor:
    """Take the steps ``w_{t+1} = w_t - rate slope(w_t)``, from ``start``.

    Args:
        objective: gives the slope.
        start: ``(p,)`` float64 ``w_0``.
        rate: of the steps, above 0.
        steps: ``T``, at least 1.

    Returns:
        ``(T + 1, p)`` all iterates.

    >>> half_square = DifferentiatedLoss(lambda w, x: (w - x).square().sum() / 2, torch.ones(1))
    >>> descend(half_square, torch.zeros(1), rate=0.5, steps=2).tolist()
    [[0.0], [0.5], [0.75]]
    """
    _validate.positive(rate=rate)
    _validate.positive_int(steps=steps)
    iterates = [start.detach()]
    for _ in range(steps):
        iterates.append(iterates[-1] - rate * objective.slope(iterates[-1]))
    return torch.stack(iterates)


def retrace(objective: Objective, end: Tensor, *, rate: float, steps: int, corrections: int = 0) -> Iterator[Tensor]:
    """Trace a descent back approximately, ``w_{T-1}, ..., w_0``, from ``w_T`` alone, without storing the iterates.

    ``w_t = w_{t+1} + rate slope(w)`` at ``w = w_{t+1}``. Every step back errs by ``rate^2`` times the
    Hessian times the slope; errors grow where the descent contracted, so that after some hundred steps they may be all
    that is left. A correction puts the ``w_t`` that was found in the place of ``w`` and goes nearer to the exact one if
    ``rate`` times the curvature is below 1.

    Args:
        objective: of the descent.
        end: ``(p,)`` ``w_T``.
        rate: of the descent.
        steps: ``T``.
        corrections: number of corrections at every step back, at least 0; the paper makes none.

    Muñoz-González et al. 2017, Towards poisoning of deep learning algorithms with back-gradient optimization,
    algorithm 2.

    >>> half_square = DifferentiatedLoss(lambda w, x: (w - x).square().sum() / 2, torch.zeros(1))
    >>> back = retrace(half_square, torch.ones(1), rate=0.5, steps=2)
    >>> [w.item() for w in back]  # exactly: 2, 4
    [1.5, 2.25]
    """
    for _ in range(steps):
        before = end + rate * objective.slope(end)
        for _ in range(corrections):
            before = end + rate * objective.slope(before)
        end = before
        yield end


def back_gradient(objective: Objective, outer: Tensor, iterates: Iterable[Tensor], *, rate: float) -> DescentGradient:
    """Return the gradient, with respect to the points, of a function ``A(w_T)`` of the last iterate of a descent.

    From ``t = T - 1`` to 0: ``dx -= rate d(slope . dw)/dx`` and ``dw -= rate d(slope . dw)/dw`` at ``w_t``, from
    ``dw = dA/dw_T`` and ``dx = 0``: reverse-mode differentiation, exact up to rounding if the iterates are.

    Args:
        objective: of the descent; it holds the points.
        outer: ``(p,)`` ``dA/dw_T``.
        iterates: ``w_{T-1}, ..., w_0``, the last first: those of :func:`descend`, reversed and without ``w_T``, or
            those of :func:`retrace`; at least one.
        rate: of the descent.

    Domke 2012, Generic methods for optimization-based modeling; Muñoz-González et al. 2017, algorithm 2.

    >>> half_square = DifferentiatedLoss(lambda w, x: (w - x).square().sum() / 2, torch.ones(1))
    >>> path = descend(half_square, torch.zeros(1), rate=0.5, steps=2)
    >>> found = back_gradient(half_square, torch.ones(1), path[:-1].flip(0), rate=0.5)
    >>> found.points.item(), found.start.item()  # w_2 = x - (x - w_0) / 4
    (0.75, 0.25)
    """
    dx, dw = outer.new_zeros(()), outer.detach()
    for iterate in iterates:
        by_parameters, by_points = objective.slope_gradients(iterate, dw)
        dw, dx = dw - rate * by_parameters, dx - rate * by_points
    return DescentGradient(dx, dw)
