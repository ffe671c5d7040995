"""A game of learner and attacker that bounds the hinge loss poison can cause, and plays poison that causes it."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.constraints import FeasibleSets
from gradshape.learners.hinge import signed_rows

_ROUNDS_A_REPORT = 50


@dataclass(frozen=True, eq=False)
class WorstCase:
    """The worst that poison can do to given classifiers: ``U = (1/n) sum of clean hinge losses + eps * worst loss``.

    Attributes:
        bound: ``(K,)`` at least ``U``: no poison inside the sets makes the least risk in the ball larger.
        risk: ``(K,)`` the risk with ``x`` as poison: ``risk <= U <= bound``.
        x: ``(K, d)`` float64 the row of the sets with the largest loss, ``y`` ``(K,)`` int64 its class.
        gradient: ``(K, d + 1)`` of the risk, by the weights and the bias, with ``x`` fixed.
    """

    bound: Tensor
    risk: Tensor
    x: Tensor
    y: Tensor
    gradient: Tensor


def worst_case(rows: Tensor, theta: Tensor, *, sets: FeasibleSets, eps: Tensor) -> WorstCase:
    """Find the worst poison inside ``sets`` for classifiers ``theta``.

    Args:
        rows: ``(n, d + 1)`` float64 clean rows with a column of ones, times their sign: :func:`signed_rows`.
        theta: ``(K, d + 1)`` float64 weights and bias of classifiers that say class 1 where ``w . x + b > 0``.
        sets: where poison of either class must lie.
        eps: ``(K,)`` float64 poison rows for one clean row, at least 0.

    Returns:
        See :class:`WorstCase`; exact up to rounding, or up to the gap of :meth:`SphereSlab.maximise` inside the box.

    Steinhardt, Koh and Liang 2017, equations 5 and 8.

    >>> rows, labels = torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([0, 0, 1, 1])
    >>> sets = FeasibleSets.from_rows(rows, labels, quantile=1.0)
    >>> theta, eps = torch.tensor([[1.0, -1.5]]).double(), torch.tensor([0.5]).double()
    >>> one = worst_case(signed_rows(rows, labels), theta, sets=sets, eps=eps)
    >>> one.risk.item(), one.x.item(), one.y.item()  # losses of 0, 0.5, 0.5, 0; and half of one of 0.5
    (0.5, 1.0, 0)
    """
    margins = theta @ rows.T
    missing = 1 - margins
    clean = missing.clamp_min(0).mean(1)
    gradient = -((missing > 0).to(rows.dtype) @ rows) / len(rows)
    w, b = theta[:, :-1], theta[:, -1]
    negative, positive = sets.negative.maximise(w), sets.positive.maximise(-w)
    values = torch.stack([1 + b + negative.value, 1 - b + positive.value])
    most = torch.stack([1 + b + negative.bound, 1 - b + positive.bound]).amax(0).clamp_min(0)
    label = values.argmax(0)
    worst = torch.where(label[:, None] == 1, positive.x, negative.x)
    loss = values.amax(0).clamp_min(0)
    sign = (2 * label - 1).to(rows.dtype)
    pull = torch.where(loss > 0, eps * sign, 0.0)
    gradient -= pull[:, None] * torch.cat([worst, torch.ones_like(b)[:, None]], dim=1)
    return WorstCase(clean + eps * most, clean + eps * loss, worst, label, gradient)


@dataclass(frozen=True, eq=False)
class Certificate:
    """The result of ``K`` games of ``T`` rounds.

    Whatever poison inside the sets is added, ``eps`` rows for one clean row: the least mean hinge loss, over clean rows
    and poison and per *clean* row, of the classifiers in the ball is at most ``bound``. With the rows played as poison,
    in equal shares, it is at least ``floor``.

    Attributes:
        x: ``(K, T, d)`` float64 the row that the attacker played in each round.
        y: ``(K, T)`` int64 its class.
        bounds: ``(K, T)`` the bound that each round proves.
        theta: ``(K, d + 1)`` weights and bias of the classifier that proves the least one.
        floor: ``(K,)``.
    """

    x: Tensor
    y: Tensor
    bounds: Tensor
    theta: Tensor
    floor: Tensor

    @property
    def bound(self) -> Tensor:
        """``(K,)`` the least of the bounds: each of them holds."""
        return self.bounds.amin(1)


def certify(
    x: Tensor,
    y: Tensor,
    *,
    sets: FeasibleSets,
    eps: Tensor,
    rho: float,
    eta: float = 0.1,
    steps: int = 1000,
    tolerance: float = 1e-4,
    report: Callable[[int, int, float], None] | None = None,
) -> Certificate:
    """Play the game of a learner in the ball ``|w|^2 + b^2 <= rho^2`` and an attacker inside ``sets``, ``K`` at a time.

    Every round the attacker answers the learner's classifier with the row of the largest loss, and the learner moves by
    regularised dual averaging: ``theta = z / L``, with minus the sum of all gradients ``z`` and
    ``L = max(1/eta, the largest |z| / rho so far)``.

    Args:
        x: ``(n, d)`` clean rows.
        y: ``(n,)`` int64, 0 or 1.
        sets: where poison of either class must lie; fixed, whatever the poison is.
        eps: ``(K,)`` poison rows for one clean row, at least 0; one game each.
        rho: radius of the ball, above 0.
        eta: step size, above 0.
        steps: most rounds.
        tolerance: stop where in all games the bound is at most this above the floor.
        report: called every 50 rounds with the rounds played, ``steps`` and the mean bound.

    Raises:
        ValueError: an argument is out of its range.

    Steinhardt, Koh and Liang 2017, algorithm 1; the released code has eta = 0.1 and 8,000 rounds for MNIST-1-7.

    >>> rows, labels = torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([0, 0, 1, 1])
    >>> sets = FeasibleSets.from_rows(rows, labels, quantile=0.5)
    >>> game = certify(rows, labels, sets=sets, eps=torch.tensor([0.0, 0.3]), rho=2.0)
    >>> bool((game.bound >= game.floor).all()), bool(game.bound[1] > game.bound[0])
    (True, True)
    """
    _validate.positive(rho=rho, eta=eta)
    _validate.non_negative(tolerance=tolerance)
    _validate.positive_int(steps=steps)
    if eps.ndim != 1 or len(eps) == 0 or not bool(((eps >= 0) & eps.isfinite()).all()):
        raise ValueError(f"eps={eps!r}: expected one finite number of at least 0 for every game")
    shares, rows = eps.double(), signed_rows(x, y)
    z = rows.new_zeros(len(eps), rows.shape[1])
    scale = torch.full_like(shares, 1 / eta)
    offset = torch.zeros_like(shares)
    best, least, floor = z, torch.full_like(shares, math.inf), offset
    played: list[WorstCase] = []
    for step in range(1, steps + 1):
        theta = z / scale[:, None]
        answer = worst_case(rows, theta, sets=sets, eps=shares)
        played.append(answer)
        best = torch.where((answer.bound < least)[:, None], theta, best)
        least = torch.minimum(least, answer.bound)
        z = z - answer.gradient
        length = z.norm(dim=1)
        scale = torch.maximum(scale, length / rho)
        # The mean of the tangents met so far is below the risk that the rows played cause, and least on the sphere.
        offset += answer.risk - (answer.gradient * theta).sum(1)
        floor = ((offset - rho * length) / step).clamp_min(0)
        if report is not None and step % _ROUNDS_A_REPORT == 0:
            report(step, steps, float(least.mean()))
        if bool((least - floor <= tolerance).all()):
            break
    return Certificate(
        torch.stack([answer.x for answer in played], dim=1),
        torch.stack([answer.y for answer in played], dim=1),
        torch.stack([answer.bound for answer in played], dim=1),
        best,
        floor,
    )
