"""Projected gradient ascent on the labels that a linear learner is trained on."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.attacks._evaluation import Evaluation
from gradshape.learners.implicit import adjoint, label_gradient, mixture_gradient
from gradshape.learners.logistic import fit_logistic
from gradshape.learners.margin_loss import Logistic, MarginLoss

# The choice of rows to flip does not depend on more digits of the parameters.
_TOLERANCE = 1e-6


class Relaxation(Enum):
    """The meaning of a label between -1 and 1 while flips are searched for.

    Attributes:
        MIXTURE: the loss is the mixture of both labels' losses, so that gradients tell the effect of whole flips.
        MARGIN: the label scales the margin, so that gradients tell the effect of small changes, as in the paper.
    """

    MIXTURE = "mixture"
    MARGIN = "margin"


@dataclass(frozen=True)
class Contamination:
    """The result of a search for labels to flip.

    Attributes:
        flipped: ``(budget,)`` ids of the flipped rows, ascending.
        clean: the objective without any flip.
        objective: the objective with these flips.
        history: the best objective up to each step.
    """

    flipped: Tensor
    clean: float
    objective: float
    history: tuple[float, ...]


def contaminate(
    x: Tensor,
    signs: Tensor,
    evaluation: Evaluation,
    *,
    budget: int,
    ridge: float,
    loss: MarginLoss | None = None,
    allowed: Tensor | None = None,
    relaxation: Relaxation = Relaxation.MIXTURE,
    steps: int = 50,
    step_size: float = 0.2,
    patience: int = 12,
    report: Callable[[int, int, float], None] | None = None,
) -> Contamination:
    """Flip exactly ``budget`` labels so that the linear learner trained on all of them does worst.

    Maximises ``A(theta(z))`` over ``z`` in {-1, 1}^n with ``budget`` entries that differ from ``signs``, where
    ``theta(z)`` minimises ``sum_i loss(z_i (theta . x_i)) + ridge/2 |theta|^2``. Every step trains on labels that are
    -1 or 1, moves *relaxed* labels in [-1, 1] by ``step_size`` along the gradient divided by its largest entry, and
    flips the labels whose relaxed ones are farthest from where they began; among equally far ones those with the larger
    gradient. The best labels of all steps are returned. It is a local search: there may be better ones.

    Args:
        x: ``(n, d)`` float64 training rows, with a feature of 1 if the learner has a bias.
        signs: ``(n,)`` clean labels, -1 and 1.
        evaluation: the objective.
        budget: labels to flip, 1 to the number of allowed rows.
        ridge: of the learner, greater than 0, as in :func:`gradshape.learners.logistic.fit_logistic`.
        loss: of the learner; logistic if omitted.
        allowed: ``(n,)`` bool, rows whose labels may be flipped; all if omitted.
        relaxation: of the labels.
        steps: trainings at most.
        step_size: greater than 0.
        patience: number of steps without improvement after which the search stops.
        report: called with steps done, steps at most, and the best objective.

    Raises:
        ValueError: an argument is out of range.

    Zhao, An, Gao and Zhang 2017, Efficient label contamination attacks against black-box learning models, algorithms 1
    and 2, with the gradient of :func:`gradshape.learners.implicit.label_gradient` (theirs is that of the dual problem).

    >>> x = torch.tensor([[-2.0, 1.0], [-1.0, 1.0], [1.0, 1.0], [2.0, 1.0]], dtype=torch.float64)
    >>> signs = torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64)
    >>> found = contaminate(x, signs, Evaluation(x, signs), budget=1, ridge=0.1)
    >>> found.flipped.tolist() in ([0], [3]), found.objective > found.clean
    (True, True)
    """
    loss = loss or Logistic()
    _validate.positive(step_size=step_size)
    _validate.positive_int(steps=steps, patience=patience)
    open_rows = torch.ones_like(signs, dtype=torch.bool) if allowed is None else allowed
    if not 1 <= budget <= int(open_rows.sum()):
        raise ValueError(
            f"budget={budget!r}: expected 1 to {int(open_rows.sum())}, the rows whose labels may be flipped"
        )
    theta = fit_logistic(x, signs, ridge=ridge, loss=loss, tolerance=_TOLERANCE)[None]
    clean, history = evaluation.value(theta).item(), []
    labels, relaxed = signs, signs.clone()
    best, best_flips = -math.inf, torch.empty(0, dtype=torch.int64, device=x.device)
    stale = 0
    for step in range(steps):
        q = adjoint(x, labels, theta, evaluation.gradient(theta), ridge=ridge, loss=loss)
        if relaxation is Relaxation.MIXTURE:
            gradient = mixture_gradient(x, theta, q, loss=loss)[0]
        else:
            gradient = label_gradient(x, labels, theta, q, loss=loss)[0]
        largest = gradient[open_rows].abs().max()
        if largest > 0:
            relaxed = (relaxed + step_size / largest * gradient).clamp(-1, 1)
        flips = _farthest((relaxed - signs).abs(), -signs * gradient, open_rows)[:budget]
        labels = signs.clone()
        labels[flips] *= -1
        theta = fit_logistic(x, labels, ridge=ridge, loss=loss, start=theta[0], tolerance=_TOLERANCE)[None]
        reached = evaluation.value(theta).item()
        stale = 0 if reached > best else stale + 1
        if reached > best:
            best, best_flips = reached, flips
        history.append(best)
        if report is not None:
            report(step + 1, steps, best)
        if stale >= patience:
            break
    return Contamination(best_flips.sort().values, clean, best, tuple(history))


def _farthest(distance: Tensor, gain: Tensor, allowed: Tensor) -> Tensor:
    """Order ids by falling ``distance``, equally far ones by falling ``gain``; the allowed ones come first."""
    order = gain.argsort(descending=True, stable=True)
    order = order[distance[order].argsort(descending=True, stable=True)]
    return order[allowed[order].to(torch.int8).argsort(descending=True, stable=True)]
