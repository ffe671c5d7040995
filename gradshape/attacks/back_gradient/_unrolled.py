"""Plain gradient descent, and back-gradients: how its last iterate moves with the training rows."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gradshape import _validate

Loss = Callable[[Tensor, Tensor], Tensor]
"""``loss(parameters, points)``, a twice differentiable scalar of ``(p,)`` parameters and of rows that may move."""


@dataclass(frozen=True, eq=False)
class DescentGradient:
    """Gradients of an objective of the last iterate.

    Attributes:
        points: with respect to the points, of their shape.
        start: with respect to the first iterate, ``(p,)``.
    """

    points: Tensor
    start: Tensor


def descend(loss: Loss, start: Tensor, points: Tensor, *, rate: float, steps: int) -> Tensor:
    """``w_{t+1} = w_t - rate dloss(w_t, points)/dw``, from ``start``.

    Args:
        loss: of parameters and points.
        start: ``(p,)`` float64 ``w_0``.
        points: the second argument of ``loss``.
        rate: of the steps, above 0.
        steps: ``T``, at least 1.

    Returns:
        ``(T + 1, p)`` all iterates.

    >>> descend(lambda w, x: (w - x).square().sum() / 2, torch.zeros(1), torch.ones(1), rate=0.5, steps=2).tolist()
    [[0.0], [0.5], [0.75]]
    """
    _validate.positive(rate=rate)
    _validate.positive_int(steps=steps)
    iterates = [start.detach()]
    points = points.detach()
    for _ in range(steps):
        iterates.append(iterates[-1] - rate * _slope(loss, iterates[-1], points))
    return torch.stack(iterates)


def retrace(
    loss: Loss, end: Tensor, points: Tensor, *, rate: float, steps: int, corrections: int = 0
) -> Iterator[Tensor]:
    """Trace a descent back approximately, ``w_{T-1}, ..., w_0``, from ``w_T`` alone, without storing the iterates.

    ``w_t = w_{t+1} + rate dloss(w, points)/dw`` at ``w = w_{t+1}``. Every step back errs by ``rate^2`` times the
    Hessian times the slope; errors grow where the descent contracted, so that after some hundred steps they may be all
    that is left. A correction puts the ``w_t`` that was found in the place of ``w`` and goes nearer to the exact one if
    ``rate`` times the curvature is below 1.

    Args:
        loss: of parameters and points.
        end: ``(p,)`` ``w_T``.
        points: the second argument of ``loss``.
        rate: of the descent.
        steps: ``T``.
        corrections: number of corrections at every step back, at least 0; the paper makes none.

    Muñoz-González et al. 2017, Towards poisoning of deep learning algorithms with back-gradient optimization,
    algorithm 2.

    >>> def loss(w, x):
    ...     return (w - x).square().sum() / 2
    >>> back = retrace(loss, torch.ones(1), torch.zeros(1), rate=0.5, steps=2)
    >>> [w.item() for w in back]  # exactly: 2, 4
    [1.5, 2.25]
    """
    for _ in range(steps):
        before = end + rate * _slope(loss, end, points)
        for _ in range(corrections):
            before = end + rate * _slope(loss, before, points)
        end = before
        yield end


def back_gradient(
    loss: Loss, points: Tensor, outer: Tensor, iterates: Iterable[Tensor], *, rate: float
) -> DescentGradient:
    """The gradient, with respect to the points, of an objective ``A(w_T)`` of the last iterate of a descent.

    From ``t = T - 1`` to 0: ``dx -= rate d(dloss/dw . dw)/dx`` and ``dw -= rate d(dloss/dw . dw)/dw`` at ``w_t``, from
    ``dw = dA/dw_T`` and ``dx = 0``: reverse-mode differentiation, exact up to rounding if the iterates are.

    Args:
        loss: of parameters and points, as the descent had it.
        points: the points that the descent was made with.
        outer: ``(p,)`` ``dA/dw_T``.
        iterates: ``w_{T-1}, ..., w_0``, the last first: those of :func:`descend`, reversed and without ``w_T``, or
            those of :func:`retrace`.
        rate: of the descent.

    Domke 2012, Generic methods for optimization-based modeling; Muñoz-González et al. 2017, algorithm 2.

    >>> def loss(w, x):
    ...     return (w - x).square().sum() / 2
    >>> path = descend(loss, torch.zeros(1), torch.ones(1), rate=0.5, steps=2)
    >>> found = back_gradient(loss, torch.ones(1), torch.ones(1), path[:-1].flip(0), rate=0.5)
    >>> found.points.item(), found.start.item()  # w_2 = x - (x - w_0) / 4
    (0.75, 0.25)
    """
    points = points.detach().requires_grad_()
    dx, dw = torch.zeros_like(points), outer.detach()
    for iterate in iterates:
        at = iterate.detach().requires_grad_()
        with torch.enable_grad():
            [slope] = torch.autograd.grad(loss(at, points), at, create_graph=True)
            along, across = torch.autograd.grad(slope @ dw, [at, points])
        dw, dx = dw - rate * along, dx - rate * across
    return DescentGradient(dx, dw)


def _slope(loss: Loss, at: Tensor, points: Tensor) -> Tensor:
    at = at.detach().requires_grad_()
    with torch.enable_grad():
        [slope] = torch.autograd.grad(loss(at, points), at)
    return slope
