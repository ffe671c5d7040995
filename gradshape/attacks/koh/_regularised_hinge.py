"""The learner of the attacks of Koh, Steinhardt and Liang: hinge loss and weight decay on clean and added rows."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.learners.margin_loss import SmoothedHinge

# Without any decay the bias has no unique optimum where no row is near the margin.
_BIAS_SHARE = 1e-4
_FIRST_TEMPERATURE, _COOLER = 0.03, 0.2
_MOST_STEPS, _MOST_HALVINGS, _MOST_DIRECT = 300, 40, 15
# Newton decrements, squared and per unit of the objective.
_ENOUGH, _ROUGHLY = 1e-22, 1e-3
# Smaller curvatures, relative to the largest, are left out of Newton steps: they change the steps, not the minimum.
_NEGLIGIBLE = 1e-6


@dataclass(frozen=True, eq=False)
class AddedRows:
    """Rows added to the clean ones.

    Attributes:
        rows: ``(m, d + 1)`` float64, see :func:`~gradshape.learners.hinge.signed_rows`.
        mass: ``(m,)`` copies of each, divided by the number of clean rows.
    """

    rows: Tensor
    mass: Tensor

    @classmethod
    def none(cls, like: Tensor) -> "AddedRows":
        """Return no rows, as wide as ``like``."""
        return cls(like[:0], like.new_zeros(0))


@dataclass(frozen=True, eq=False)
class RegularisedHinge:
    """``R(theta) = (1/n) (sum of losses on all rows) + (1 + m/n) decay/2 |w|^2``: ``n`` rows are clean, ``m`` added.

    This is ``1 + m/n`` times the sum of the mean loss and the decay. The loss is the smoothed hinge.

    Attributes:
        rows: ``(n, d + 1)`` clean rows, see :func:`~gradshape.learners.hinge.signed_rows`.
        decay: above 0. The bias gets a ten-thousandth of it.
        temperature: of the smoothing, in the unit of margins, above 0.

    Raises:
        ValueError: there are no rows, or a number is out of range.

    Koh, Steinhardt and Liang 2018, Stronger data poisoning attacks break data sanitization defenses, section 2.

    >>> from gradshape.learners.hinge import signed_rows
    >>> rows = signed_rows(torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1]))
    >>> learner = RegularisedHinge(rows, decay=0.1, temperature=0.01)
    >>> [round(value, 1) for value in learner.fit().tolist()]
    [2.0, -1.0]
    """

    rows: Tensor
    decay: float
    temperature: float = 1e-3

    def __post_init__(self) -> None:
        _validate.positive(decay=self.decay, temperature=self.temperature)
        if len(self.rows) == 0:
            raise ValueError("rows: expected at least 1 row, got none")

    @property
    def loss(self) -> SmoothedHinge:
        """The loss of a margin."""
        return SmoothedHinge(self.temperature)

    def mean_loss(self, theta: Tensor) -> float:
        """Return the mean smoothed loss on the clean rows of weights and bias ``theta`` ``(d + 1,)``."""
        return float(self.loss.value(self.rows @ theta).mean())

    def error(self, theta: Tensor) -> float:
        """Share of clean rows, in [0, 1], that ``theta`` gets wrong; a margin of 0 is wrong."""
        return float((self.rows @ theta <= 0).double().mean())

    def loss_gradient(self, theta: Tensor) -> Tensor:
        """Return the ``(d + 1,)`` gradient of :meth:`mean_loss`."""
        return self.loss.slope(self.rows @ theta) @ self.rows / len(self.rows)

    def decay_weights(self, added_mass: float) -> Tensor:
        """Return ``(d + 1,)`` weights of the squared parameters in ``R`` when rows of this mass are added."""
        ridge = self.rows.new_full((self.rows.shape[1],), (1 + added_mass) * self.decay)
        ridge[-1] *= _BIAS_SHARE
        return ridge

    def solve(self, theta: Tensor, right: Tensor, *, added: AddedRows | None = None) -> Tensor:
        """Solve ``H q = right`` for ``q``, ``(d + 1,)``, with the Hessian ``H`` of ``R`` at ``theta``."""
        rows, mass, ridge = self._problem(added)
        return _solve(rows, mass * self.loss.curvature(rows @ theta), ridge, right, negligible=1e-14)

    def fit(self, added: AddedRows | None = None, *, start: Tensor | None = None) -> Tensor:
        """Minimise ``R`` by damped Newton steps while the loss is smoothed less and less; returns ``(d + 1,)``.

        Args:
            added: rows beside the clean ones; none if omitted.
            start: parameters near the minimum, to save time.

        Raises:
            ValueError: the steps did not converge (rows that are not finite).
        """
        problem = self._problem(added)
        if start is not None:
            theta, close = _descend(*problem, start, self.loss, most=_MOST_DIRECT, enough=_ENOUGH)
            if close:
                return theta
        theta = torch.zeros_like(self.rows[0]) if start is None else start
        temperature = max(_FIRST_TEMPERATURE, self.temperature)
        while temperature > self.temperature:
            theta, _ = _descend(*problem, theta, SmoothedHinge(temperature), most=_MOST_STEPS, enough=_ROUGHLY)
            temperature *= _COOLER
        theta, close = _descend(*problem, theta, self.loss, most=_MOST_STEPS, enough=_ENOUGH)
        if not close:
            raise ValueError(
                f"temperature={self.temperature!r}: no minimum in {_MOST_STEPS} steps: expected finite rows"
            )
        return theta

    def _problem(self, added: AddedRows | None) -> tuple[Tensor, Tensor, Tensor]:
        extra = AddedRows.none(self.rows) if added is None else added
        rows = torch.cat([self.rows, extra.rows]) if len(extra.mass) else self.rows
        mass = torch.cat([self.rows.new_full((len(self.rows),), 1 / len(self.rows)), extra.mass])
        return rows, mass, self.decay_weights(float(extra.mass.sum()))


def _solve(rows: Tensor, weights: Tensor, ridge: Tensor, right: Tensor, *, negligible: float) -> Tensor:
    """Compute ``(diag(ridge) + sum_i weights_i rows_i rows_i^T)^-1 right`` without rows of negligible weight."""
    # Rows far from the margin have no curvature.
    bent = weights > negligible * weights.amax()
    few, weight = rows[bent], weights[bent]
    if len(few) < len(ridge):
        # Woodbury's identity: as many equations as rows.
        scaled = few / ridge
        system = scaled @ few.T
        system.diagonal().add_(1 / weight)
        inner = torch.cholesky_solve((scaled @ right)[:, None], torch.linalg.cholesky(system)).squeeze(1)
        return right / ridge - inner @ scaled
    total = few.T @ (weight[:, None] * few)
    total.diagonal().add_(ridge)
    return torch.cholesky_solve(right[:, None], torch.linalg.cholesky(total)).squeeze(1)


def _descend(
    rows: Tensor, mass: Tensor, ridge: Tensor, theta: Tensor, loss: SmoothedHinge, *, most: int, enough: float
) -> tuple[Tensor, bool]:
    """Take at most ``most`` Newton steps from ``theta``; returns where they lead and whether they converged."""
    margins = rows @ theta
    value = _objective(margins, mass, ridge, theta, loss)
    last = math.inf
    for _ in range(most):
        gradient = (mass * loss.slope(margins)) @ rows + ridge * theta
        step = -_solve(rows, mass * loss.curvature(margins), ridge, gradient, negligible=_NEGLIGIBLE)
        gain = -float(gradient @ step)
        # Gains that no longer shrink are rounding.
        if gain <= enough * (1 + value) or last / 2 <= gain <= 1e-12 * (1 + value):
            return theta, True
        change = rows @ step
        length = 1.0
        for _ in range(_MOST_HALVINGS):
            reached = _objective(margins + length * change, mass, ridge, theta + length * step, loss)
            if reached <= value - 1e-4 * length * gain + 1e-15 * (1 + value):
                break
            length /= 2
        theta, margins, value, last = theta + length * step, margins + length * change, reached, gain
    return theta, False


def _objective(margins: Tensor, mass: Tensor, ridge: Tensor, theta: Tensor, loss: SmoothedHinge) -> float:
    return float(mass @ loss.value(margins) + (ridge * theta) @ theta / 2)
