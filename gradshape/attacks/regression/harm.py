"""What poison does to a linear regression, and climbing it."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from functools import cached_property

import torch
from torch import Tensor

from gradshape.learners.linear import LinearFit, Penalty, fit_linear, row_gradients

_LEAST_STEPS = 15
_MOST_DOUBLINGS, _SHRINK, _LEAST_LENGTH = 8, 0.75, 1e-6


class Harm(Enum):
    """What is made as large as it can be.

    Attributes:
        TRAIN: mean squared error on the clean training rows.
        VALIDATION: mean squared error on clean rows that are held out, and not fitted to, while crafting.
        DISTANCE: squared distance of the weights and the intercept from those of the clean fit.
    """

    TRAIN = "train"
    VALIDATION = "validation"
    DISTANCE = "distance"


@dataclass(frozen=True, eq=False)
class RegressionHarm:
    """What poison does to a linear regression that is fitted to it and to clean rows.

    Attributes:
        x, y: ``(n, d)`` and ``(n,)`` float64 clean rows.
        penalty: of the model.
        judged: rows on which the mean squared error is taken; the clean ones if ``None``.
        weight: of a clean row; a poison row has 1.
        distance: take the squared distance of the parameters from the clean fit instead of an error.
    """

    x: Tensor
    y: Tensor
    penalty: Penalty
    _: KW_ONLY
    judged: tuple[Tensor, Tensor] | None = None
    weight: float = 1.0
    distance: bool = False

    @property
    def clean_harm(self) -> float:
        """The harm without poison."""
        return self.at(self._clean)

    @cached_property
    def _clean(self) -> LinearFit:
        return fit_linear(self.x, self.y, penalty=self.penalty)

    def fit(self, poison_x: Tensor, poison_y: Tensor, *, start: LinearFit | None = None) -> LinearFit:
        """The model of the clean rows and ``(m, d)`` poison rows with values ``(m,)``."""
        x, y, weights = self._together(poison_x, poison_y)
        return fit_linear(x, y, penalty=self.penalty, weights=weights, start=start)

    def at(self, fit: LinearFit) -> float:
        """The harm done to a fit."""
        if self.distance:
            return float((fit.w - self._clean.w).square().sum() + (fit.b - self._clean.b).square())
        return fit.mse(*(self.judged or (self.x, self.y)))

    def gradients(self, poison_x: Tensor, poison_y: Tensor, fit: LinearFit) -> tuple[Tensor, Tensor]:
        """Gradients of the harm by the poison rows, ``(m, d)``, and their values, ``(m,)``, at the fit to them."""
        if self.distance:
            outer_w, outer_b = 2 * (fit.w - self._clean.w), 2 * (fit.b - self._clean.b)
        else:
            x, y = self.judged or (self.x, self.y)
            residuals = fit.predict(x) - y
            outer_w, outer_b = 2 * x.T @ residuals / len(y), 2 * residuals.mean()
        x, y, weights = self._together(poison_x, poison_y)
        by_x, by_y = row_gradients(x, y, fit, outer_w, outer_b, penalty=self.penalty, weights=weights)
        return by_x[len(self.y) :], by_y[len(self.y) :]

    def _together(self, poison_x: Tensor, poison_y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weights = self.x.new_ones(len(self.y) + len(poison_y))
        weights[: len(self.y)] = self.weight
        return torch.cat([self.x, poison_x]), torch.cat([self.y, poison_y]), weights


@dataclass(frozen=True, eq=False)
class HarmAscent:
    """Where an ascent ended.

    Attributes:
        x, y: ``(m, d)`` and ``(m,)`` float64 poison in [0, 1].
        path: the harm at the start and after every step that was made; it never decreases.
    """

    x: Tensor
    y: Tensor
    path: tuple[float, ...]


def ascend(
    harm: RegressionHarm,
    x: Tensor,
    y: Tensor,
    *,
    step: float,
    steps: int,
    tolerance: float,
    move_values: bool = True,
    confine: Callable[[Tensor], Tensor] = lambda rows: rows,
    report: Callable[[int, int, float], None] = lambda step, steps, value: None,
) -> HarmAscent:
    """Climb ``harm`` from poison rows ``x (m, d)`` with values ``y (m,)``, all float64 in [0, 1].

    All rows step together, each by one length along its own gradient, with respect to the row and its value; the part
    of it that points out of the box is left out. The length is doubled as long as that does more harm, and becomes 0.75
    of itself, without a step, if even the first does no more. From the 15th step on, one that gains at most
    ``tolerance`` of the harm is the last.

    Args:
        harm: what is climbed.
        step: the first length, above 0.
        steps: at most, those that are not made included.
        tolerance: relative, at least 0.
        move_values: whether the values move as well.
        confine: puts rows back where they have to be.
        report: told the number of steps done, that of steps at most, and the harm.

    Jagielski et al. 2018, algorithm 1.
    """
    fit = harm.fit(x, y)
    path = [harm.at(fit)]
    length = step
    for taken in range(steps):
        by_x, by_y = harm.gradients(x, y, fit)
        direction = _inward(torch.cat([x, y[:, None]], dim=1), torch.cat([by_x, by_y[:, None]], dim=1))
        if not move_values:
            direction[:, -1] = 0
        direction /= direction.norm(dim=1, keepdim=True).clamp_min(torch.finfo(direction.dtype).tiny)
        best: tuple[float, Tensor, Tensor, LinearFit] | None = None
        for doubling in range(_MOST_DOUBLINGS):
            far = length * 2**doubling
            there_x = confine((x + far * direction[:, :-1]).clamp(0, 1))
            there_y = (y + far * direction[:, -1]).clamp(0, 1)
            there = harm.fit(there_x, there_y, start=fit)
            value = harm.at(there)
            if value <= (path[-1] if best is None else best[0]):
                break
            best = value, there_x, there_y, there
        if best is None:
            length *= _SHRINK
            if length < _LEAST_LENGTH:
                break
            continue
        value, x, y, fit = best
        path.append(value)
        report(taken + 1, steps, value)
        if taken + 1 >= _LEAST_STEPS and value - path[-2] <= tolerance * value:
            break
    return HarmAscent(x, y, tuple(path))


def _inward(point: Tensor, gradient: Tensor) -> Tensor:
    """The gradient without what points out of the unit box."""
    outward = ((point <= 0) & (gradient < 0)) | ((point >= 1) & (gradient > 0))
    return gradient.masked_fill(outward, 0)
