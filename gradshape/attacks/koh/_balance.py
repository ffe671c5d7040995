"""Poison rows that make given parameters the optimum of training, as a convex programme in the rows."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.constraints import FeasibleSets

_PENALTY = 0.3
_TINY = torch.finfo(torch.float64).tiny


@dataclass(frozen=True, eq=False)
class BalanceProblem:
    """``B`` problems: rows are sought that make ``theta`` the optimum of training.

    Attributes:
        gradient: ``(B, d)`` the gradient that the poison rows must cancel: that of the clean loss plus weight decay,
            with respect to the weights, at ``theta``.
        theta: ``(B, d + 1)`` the weights and the bias that are to become optimal.
        mass: ``(B, 2)`` copies of the row of class 0 and of class 1 for one clean row.
        least: ``(B, 2)`` smallest margin that either row may have under ``theta``, at most 1; it bounds the row's loss.
    """

    gradient: Tensor
    theta: Tensor
    mass: Tensor
    least: Tensor


@dataclass(frozen=True, eq=False)
class BalanceSolution:
    """Solutions of ``B`` problems.

    Attributes:
        x: ``(B, 2, d)`` rows of class 0 and class 1, in the sets.
        objective: ``(B,)`` length of what is left of the gradient, ``|gradient + mass_0 x_0 - mass_1 x_1|``.
    """

    x: Tensor
    objective: Tensor


def balance_gradient(
    problem: BalanceProblem, *, sets: FeasibleSets, steps: int = 200, tolerance: float = 1e-4
) -> BalanceSolution:
    """Minimise ``|gradient + mass_0 x_0 - mass_1 x_1|`` over rows of the sets with margins between ``least`` and 1.

    Where margins are below 1 the hinge loss of a row is linear, and a minimum of 0 means that training on the clean
    rows and these leads to ``theta`` (for the weights; for the bias the masses must balance its gradient).

    The problem is solved by the alternating direction method of multipliers: projections onto the sets, projections
    onto the margins, and the least-squares problem take turns. The rows returned are in the sets; where the margins can
    be met as well, they hold up to about ``tolerance``.

    Args:
        problem: the problems, solved together.
        sets: where rows must lie.
        steps: most turns.
        tolerance: stop where a turn moves no row by more than this Euclidean distance.

    Raises:
        ValueError: ``steps`` or ``tolerance`` is out of range.

    Koh, Steinhardt and Liang 2018, section 4.2; their code calls a conic solver. Boyd et al. 2011, section 7.1.

    >>> rows, labels = torch.tensor([[0.0], [0.5], [0.5], [1.0]]), torch.tensor([0, 0, 1, 1])
    >>> one = torch.ones(1, 2, dtype=torch.float64)
    >>> problem = BalanceProblem(0.2 * one[:, :1], 0 * one, 0.5 * one, -9 * one)  # 0.2 + x_0 / 2 - x_1 / 2 can be 0
    >>> solved = balance_gradient(problem, sets=FeasibleSets.from_rows(rows, labels, quantile=1.0))
    >>> round(solved.objective.item(), 3), round((solved.x[0, 1] - solved.x[0, 0]).item(), 3)
    (0.0, 0.4)
    """
    _validate.positive_int(steps=steps)
    _validate.non_negative(tolerance=tolerance)
    pull = problem.mass * problem.mass.new_tensor([-1.0, 1.0])
    weight = pull.square().sum(1)
    # It converges with any positive penalty; this one is on the scale of the least-squares problem.
    penalty = (_PENALTY * weight).clamp_min(_TINY)[:, None, None]
    aim = pull[:, :, None] * problem.gradient[:, None]
    x = torch.stack([sets.negative.centroid, sets.positive.centroid]).expand(len(pull), 2, -1)
    inside, level = x, x
    gap_inside, gap_level = torch.zeros_like(x), torch.zeros_like(x)
    for _ in range(steps):
        right = aim + penalty * (inside - gap_inside + level - gap_level)
        shared = (pull[:, :, None] * right).sum(1, keepdim=True) / (2 * penalty + weight[:, None, None])
        x = (right - pull[:, :, None] * shared) / (2 * penalty)
        before = inside
        inside = torch.stack(
            [sets.for_class(label).project(x[:, label] + gap_inside[:, label]) for label in (0, 1)], dim=1
        )
        level = _to_margins(x + gap_level, problem)
        gap_inside, gap_level = gap_inside + x - inside, gap_level + x - level
        moved = torch.stack([inside - before, x - inside, x - level]).norm(dim=-1)
        if float(moved.max()) <= tolerance:
            break
    left = problem.gradient - (pull[:, :, None] * inside).sum(1)
    return BalanceSolution(inside, left.norm(dim=1))


def _to_margins(x: Tensor, problem: BalanceProblem) -> Tensor:
    """Project rows ``(B, 2, d)`` onto those with margins between ``least`` and 1."""
    sign = x.new_tensor([-1.0, 1.0])
    w, b = problem.theta[:, None, :-1], problem.theta[:, None, -1]
    margins = sign * ((x * w).sum(-1) + b)
    off = torch.minimum(torch.maximum(margins, problem.least), torch.ones_like(margins)) - margins
    normal = sign[:, None] * w
    return x + (off / w.square().sum(-1).clamp_min(_TINY))[:, :, None] * normal
