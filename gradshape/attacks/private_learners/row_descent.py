"""Stochastic gradient descent on the features of some training rows of a private learner."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.attacks._evaluation import Cost
from gradshape.learners.implicit import row_gradient
from gradshape.learners.private import PrivateLearner

# Number of random vectors that selection takes at a time.
_CHUNK = 32


def cost_gradient(
    x: Tensor,
    signs: Tensor,
    rows: Tensor,
    cost: Cost,
    learner: PrivateLearner,
    *,
    noise: Tensor,
    start: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute how the mean cost of the released parameters changes with the features of some training rows.

    Args:
        x: ``(n, d)`` float64 rows of norm at most 1.
        signs: ``(n,)`` labels -1 and 1.
        rows: ``(k,)`` ids.
        cost: of the parameters.
        learner: the victim.
        noise: ``(K, d)`` random vectors of the learner, over which the mean is taken.
        start: ``(d,)`` parameters near the minima, if known.

    Returns:
        ``(k, d)`` gradients, and the mean of the minima, ``(d,)``.

    Ma, Zhu and Hsu 2019, section 4.
    """
    solution = learner.solve(x, signs, noise, start=start)
    outer = cost.gradient(solution.released) / len(noise)
    q = learner.adjoint(x, signs, solution, outer)
    return row_gradient(x[rows], signs[rows], solution.minima, q, loss=learner.loss), solution.minima.mean(0)


@dataclass(frozen=True, kw_only=True)
class RowDescent:
    """Settings of the descent that moves rows.

    Args:
        steps: at most, at least 1.
        step_size: how far the row with the largest gradient moves in the first step, as a distance in the unit ball,
            greater than 0. All steps have the rate that follows from it.
        draws: fresh random vectors a step, at least 1; the authors draw 1.
        attraction: weight of half the squared distances from where the rows began, at least 0.
        patience: number of comparisons without improvement after which the descent stops.
        judges: number of random vectors, the same throughout, by whose mean cost the best rows are chosen, at least 1.
        every: steps between comparisons, at least 1.

    Raises:
        ValueError: a value is out of range.
    """

    steps: int = 200
    step_size: float = 0.1
    draws: int = 8
    attraction: float = 0.0
    patience: int = 8
    judges: int = 64
    every: int = 5

    def __post_init__(self) -> None:
        _validate.positive_int(steps=self.steps, draws=self.draws, patience=self.patience)
        _validate.positive_int(judges=self.judges, every=self.every)
        _validate.positive(step_size=self.step_size)
        _validate.finite_non_negative(attraction=self.attraction)


@dataclass(frozen=True, eq=False)
class EditedRows:
    """Training rows after the descent.

    Attributes:
        x: ``(n, d)`` all rows, of which those that were not to be edited are unchanged.
        clean, cost: the mean cost before and after, over the same random vectors.
        history: the best cost up to each comparison, the first before any step.
    """

    x: Tensor
    clean: float
    cost: float
    history: tuple[float, ...]


def descend_rows(
    x: Tensor,
    signs: Tensor,
    rows: Tensor,
    cost: Cost,
    learner: PrivateLearner,
    descent: RowDescent,
    *,
    surrogate: bool = False,
    half_width: float | None = None,
    generator: torch.Generator,
    report: Callable[[int, int, float], None] | None = None,
) -> EditedRows:
    """Move the features of ``rows`` so that the mean cost of what the learner releases becomes small.

    Every step draws fresh random vectors, moves against the gradient of :func:`cost_gradient` and projects. The best
    rows of all comparisons are returned.

    Args:
        x: ``(n, d)`` float64 rows of norm at most 1.
        signs: ``(n,)`` labels -1 and 1; they stay.
        rows: ``(k,)`` ids of the rows to edit, at least 1.
        cost: of the parameters, to be minimised.
        learner: the victim.
        descent: its settings.
        surrogate: whether the victim is taken to be the learner without its random vector (SV, else DPV).
        half_width: ``None`` to project onto the unit ball; else onto the box ``[-half_width, half_width]^d``, which
            must lie in that ball.
        generator: of the random vectors.
        report: called with steps done, steps at most, and the best cost.

    Raises:
        ValueError: the box is not inside the ball.

    Ma, Zhu and Hsu 2019, Data poisoning against differentially-private learners, algorithm 1.
    """
    if half_width is not None and half_width**2 * x.shape[1] > 1 + 1e-9:
        raise ValueError(f"half_width={half_width!r}: expected at most {1 / math.sqrt(x.shape[1]):g}, inside the ball")
    width = x.shape[1]
    vectors = learner.perturbation(len(x))

    def draw(count: int) -> Tensor:
        return x.new_zeros(1, width) if surrogate else vectors.draw(count, width, generator=generator).to(x.device)

    judges = draw(descent.judges)
    began, moved = x[rows], x.clone()
    judged = learner.solve(x, signs, judges)
    clean = float(cost.value(judged.released).mean())
    best, best_rows, history = clean, began, [clean]
    rate, stale, start = 0.0, 0, None
    for step in range(1, descent.steps + 1):
        gradient, start = cost_gradient(moved, signs, rows, cost, learner, noise=draw(descent.draws), start=start)
        if step == 1:
            largest = float(gradient.norm(dim=1).max())
            rate = descent.step_size / largest if largest > 0 else 0.0
        pull = gradient + descent.attraction * (moved[rows] - began)
        moved[rows] = _project(moved[rows] - rate * pull, half_width)
        if step % descent.every and step < descent.steps:
            continue
        judged = learner.solve(moved, signs, judges, start=judged.minima)
        reached = float(cost.value(judged.released).mean())
        stale = 0 if reached < best - 1e-4 * abs(best) else stale + 1
        if reached < best:
            best, best_rows = reached, moved[rows]
        history.append(best)
        if report is not None:
            report(step, descent.steps, -best)
        if stale >= descent.patience:
            break
    moved[rows] = best_rows
    return EditedRows(moved, clean, best, tuple(history))


def select_shallow(
    x: Tensor,
    signs: Tensor,
    editable: Tensor,
    cost: Cost,
    learner: PrivateLearner,
    *,
    count: int,
    draws: int,
    surrogate: bool = False,
    generator: torch.Generator,
) -> Tensor:
    """Select the ``count`` rows among ``editable`` (ids) with the longest gradients, averaged over ``draws`` vectors.

    Ma, Zhu and Hsu 2019, section 4.3; they draw 1,000, and none for the surrogate victim.

    Returns:
        ``(count,)`` ids.
    """
    total = x.new_zeros(len(editable), x.shape[1])
    if surrogate:
        noise = x.new_zeros(1, x.shape[1])
    else:
        noise = learner.perturbation(len(x)).draw(draws, x.shape[1], generator=generator).to(x.device)
    start = None
    for part in noise.split(_CHUNK):
        gradient, start = cost_gradient(x, signs, editable, cost, learner, noise=part, start=start)
        total += gradient * (len(part) / len(noise))
    return editable[_largest(total.norm(dim=1), count)]


def select_deep(
    x: Tensor,
    signs: Tensor,
    editable: Tensor,
    cost: Cost,
    learner: PrivateLearner,
    descent: RowDescent,
    *,
    count: int,
    surrogate: bool = False,
    half_width: float | None = None,
    generator: torch.Generator,
) -> Tensor:
    """Select the ``count`` rows among ``editable`` (ids) that move farthest if all of them may be edited.

    Ma, Zhu and Hsu 2019, section 4.3; with an attraction of 1e-4.

    Returns:
        ``(count,)`` ids.
    """
    edited = descend_rows(
        x,
        signs,
        editable,
        cost,
        learner,
        descent,
        surrogate=surrogate,
        half_width=half_width,
        generator=generator,
    )
    return editable[_largest((edited.x - x)[editable].norm(dim=1), count)]


def _largest(values: Tensor, count: int) -> Tensor:
    return values.argsort(descending=True, stable=True)[:count]


def _project(x: Tensor, half_width: float | None) -> Tensor:
    if half_width is not None:
        return x.clamp(-half_width, half_width)
    norms: Tensor = x.norm(dim=1, keepdim=True)
    return x / norms.clamp_min(1)
