"""The harm that poison does to a linear regression, and gradient ascent on it."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from functools import cached_property

import torch
from torch import Tensor

from gradshape.attacks._point_ascent import inside
from gradshape.learners.linear import LinearFit, Penalty, fit_linear, row_gradients

_LEAST_STEPS = 15
_MOST_DOUBLINGS, _SHRINK, _LEAST_LENGTH = 8, 0.75, 1e-6


class Harm(Enum):
    """What an attack maximises.

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
    """The harm that poison does to a linear regression that is fitted to clean rows and to the poison.

    Attributes:
        x, y: ``(n, d)`` and ``(n,)`` float64 clean rows.
        penalty: of the model.
        judged: rows and values on which the mean squared error is taken; the clean ones if ``None``.
        weight: of a clean row; a poison row has 1.
        distance: whether harm is the squared distance of the parameters from the clean fit, and not an error.
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
        """Fit the model to the clean rows and to ``(m, d)`` poison rows with values ``(m,)``."""
        x, y, weights = self._together(poison_x, poison_y)
        return fit_linear(x, y, penalty=self.penalty, weights=weights, start=start)

    def at(self, fit: LinearFit) -> float:
        """Return the harm to a fit."""
        if self.distance:
            return float((fit.w - self._clean.w).square().sum() + (fit.b - self._clean.b).square())
        return fit.mse(*(self.judged or (self.x, self.y)))

    def gradients(self, poison_x: Tensor, poison_y: Tensor, fit: LinearFit) -> tuple[Tensor, Tensor]:
        """Return gradients of the harm by poison rows, ``(m, d)``, and values, ``(m,)``, at the fit to them."""
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
    """The end of an ascent.

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

    All rows step together. Each moves by the same length along its own gradient, with respect to the row and its value,
    without the part that points out of the box. The length is doubled as long as that does more harm. If even the first
    length does no more harm, no step is made and the length shrinks to three quarters. From the 15th step on, a step
    that gains at most ``tolerance`` of the harm is the last.

    Args:
        harm: the objective.
        step: the first length, above 0.
        steps: at most, including those that are not made.
        tolerance: relative, at least 0.
        move_values: whether the values move as well.
        confine: moves rows back to where they are allowed.
        report: called with the steps done, the steps at most and the harm.

    Jagielski et al. 2018, algorithm 1.
    """
    fit = harm.fit(x, y)
    path = [harm.at(fit)]
    length = step
    for taken in range(steps):
        by_x, by_y = harm.gradients(x, y, fit)
        direction = inside(torch.cat([by_x, by_y[:, None]], dim=1), torch.cat([x, y[:, None]], dim=1))
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
