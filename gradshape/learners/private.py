"""Differentially private linear learners, with perturbed objectives or perturbed outputs.

Neighbouring data sets differ in one row, whose features lie in the unit ball and whose label is -1 or 1 (or between,
for regression). A learner is a deterministic function of the rows and of one random vector, so that an attacker can
differentiate it.
"""

import math
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from typing import Protocol

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.learners._private_noise import GaussianNoise, LaplaceNoise, NormNoise, Perturbation, gaussian_std
from gradshape.learners.implicit import adjoint
from gradshape.learners.logistic import fit_logistic, hessian, solve
from gradshape.learners.margin_loss import Logistic, MarginLoss, SquaredMargin


class PrivateNoise(Enum):
    """The distribution of the random vector of a private learner; the learners say what each kind protects with.

    Attributes:
        NORM: the density falls exponentially with the Euclidean norm.
        LAPLACE: every coordinate is of the Laplace distribution.
        GAUSSIAN: every coordinate is normal.
    """

    NORM = "norm"
    LAPLACE = "laplace"
    GAUSSIAN = "gaussian"

    @property
    def label(self) -> str:
        """The prefix of a learner's label; empty for ``NORM``."""
        return "" if self is PrivateNoise.NORM else f"{self.value}_"


def to_ball(x: Tensor) -> Tensor:
    """Move and shrink the box ``[0, 1]^d`` into the unit ball, whatever the data: ``(2 x - 1) / sqrt(d)``, float64.

    >>> to_ball(torch.tensor([[1.0, 0.0, 0.5, 0.5]])).tolist()
    [[0.5, -0.5, 0.0, 0.0]]
    """
    return (2 * x.double() - 1) / math.sqrt(x.shape[-1])


def from_ball(u: Tensor) -> Tensor:
    """Move and stretch the unit ball back; the inverse of :func:`to_ball`."""
    return (u * math.sqrt(u.shape[-1]) + 1) / 2


@dataclass(frozen=True, eq=False)
class PrivateSolution:
    """The parameters that a learner finds, for ``K`` random vectors.

    Attributes:
        minima: ``(K, d)`` or ``(1, d)`` minima of the objective.
        released: ``(K, d)`` parameters that the learner releases.
        active: whether the bound on the norm of the minimum binds.
        penalty: weight of half the squared norm at the minimum: the ridge, and the multiplier of the bound.
    """

    minima: Tensor
    released: Tensor
    active: bool
    penalty: float


class PrivateLearner(Protocol):
    """A private linear learner."""

    @property
    def label(self) -> str:
        """Name for ids."""
        ...

    @property
    def epsilon(self) -> float: ...

    @property
    def loss(self) -> MarginLoss:
        """The loss of a row in its objective."""
        ...

    def perturbation(self, rows: int) -> Perturbation:
        """Return the distribution of its random vector for ``rows`` training rows."""
        ...

    def solve(self, x: Tensor, signs: Tensor, noise: Tensor, *, start: Tensor | None = None) -> PrivateSolution:
        """Train on rows ``(n, d)`` of norm at most 1 with labels ``(n,)``, for every row of ``noise`` ``(K, d)``."""
        ...

    def adjoint(self, x: Tensor, signs: Tensor, solution: PrivateSolution, outer: Tensor) -> Tensor:
        """Return ``q`` for :func:`gradshape.learners.implicit.row_gradient`.

        ``outer (K, d)`` are gradients by the released parameters. The result has the shape of the minima and sums over
        random vectors that share one.
        """
        ...


def _check(epsilon: float, delta: float | None, ridge: float, noise: PrivateNoise) -> None:
    _validate.positive(epsilon=epsilon, ridge=ridge)
    _validate.member(PrivateNoise, noise=noise)
    if delta is not None and not 0 < delta < 1:
        raise ValueError(f"delta={delta!r}: expected None or a number in (0, 1)")


@dataclass(frozen=True)
class ObjectivePerturbation:
    """Logistic regression whose objective is tilted by a random vector ``b``.

    It releases the ``theta`` that minimises ``sum_i log(1 + exp(-y_i theta . x_i)) + ridge/2 |theta|^2 + b . theta``.

    Args:
        epsilon: greater than 0.
        ridge: beside the *sum* of the losses, greater than 0.
        noise: the distribution of ``b``.

            * ``NORM``: density proportional to ``exp(-e |b| / 2)`` with ``e = epsilon - 2 log(1 + 1 / (4 ridge))``:
              the release is ``epsilon``-differentially private.
            * ``LAPLACE``: every coordinate of the Laplace distribution with scale ``2 / epsilon``, as in the code of
              Ma et al. It protects with about ``sqrt(d) epsilon``.
            * ``GAUSSIAN``: every coordinate normal with variance ``(8 ln(2 / delta) + 4 epsilon) / epsilon^2``:
              ``(epsilon, delta)``-differentially private for neighbours of which one lacks a row of the other.
        delta: for Gaussian noise; ``1 / n`` if omitted.

    Raises:
        ValueError: an argument is out of range, or ``ridge`` is too small for ``epsilon``: ``NORM`` needs
            ``e > 0``, the others ``ridge >= 1 / (2 epsilon)``.

    Chaudhuri, Monteleoni and Sarwate 2011, Differentially private empirical risk minimization, theorem 9 (for losses
    with second derivatives of at most 1/4); Kifer, Smith and Thakurta 2012, algorithm 1; Ma, Zhu and Hsu 2019.

    >>> round(ObjectivePerturbation(1.0).perturbation(100).rate, 4)
    0.4753
    """

    epsilon: float
    ridge: float = 10.0
    noise: PrivateNoise = PrivateNoise.NORM
    _: KW_ONLY
    delta: float | None = None

    def __post_init__(self) -> None:
        _check(self.epsilon, self.delta, self.ridge, self.noise)
        if self.noise is PrivateNoise.NORM and self._left <= 0:
            least = 1 / (4 * math.expm1(self.epsilon / 2))
            raise ValueError(f"ridge={self.ridge!r}: expected more than {least:g} at epsilon={self.epsilon!r}")
        if self.noise is not PrivateNoise.NORM and self.ridge < 1 / (2 * self.epsilon):
            least = 1 / (2 * self.epsilon)
            raise ValueError(f"ridge={self.ridge!r}: expected at least {least:g} at epsilon={self.epsilon!r}")

    @property
    def _left(self) -> float:
        """The part of epsilon that is left for the noise; the rest covers the change of the Hessian."""
        return self.epsilon - 2 * math.log1p(1 / (4 * self.ridge))

    @property
    def label(self) -> str:
        return f"{self.noise.label}eps{self.epsilon:g}"

    @property
    def loss(self) -> MarginLoss:
        return Logistic()

    def perturbation(self, rows: int) -> Perturbation:
        if self.noise is PrivateNoise.NORM:
            return NormNoise(self._left / 2)
        if self.noise is PrivateNoise.LAPLACE:
            return LaplaceNoise(2 / self.epsilon)
        delta = self.delta or 1 / rows
        return GaussianNoise(math.sqrt(8 * math.log(2 / delta) + 4 * self.epsilon) / self.epsilon)

    def solve(self, x: Tensor, signs: Tensor, noise: Tensor, *, start: Tensor | None = None) -> PrivateSolution:
        minima = fit_logistic(x, signs, ridge=self.ridge, tilt=noise, start=start, tolerance=1e-8)
        return PrivateSolution(minima, minima, False, self.ridge)

    def adjoint(self, x: Tensor, signs: Tensor, solution: PrivateSolution, outer: Tensor) -> Tensor:
        return adjoint(x, signs, solution.minima, outer, ridge=self.ridge, loss=self.loss)


@dataclass(frozen=True)
class OutputPerturbation:
    """Ridge regression on the labels, with a random vector added to its parameters.

    It releases ``theta + b``, where ``theta`` minimises ``sum_i (theta . x_i - y_i)^2 / 2 + ridge/2 |theta|^2`` over
    ``|theta| <= bound``. When one row changes, ``theta`` moves by at most ``2 (1 + bound) / ridge``: the gradient of a
    row's loss is at most ``1 + bound`` long there, and the objective is ``ridge``-strongly convex.

    Args:
        epsilon: greater than 0.
        ridge: beside the *sum* of the losses, greater than 0.
        bound: on the norm of the parameters, greater than 0.
        noise: the distribution of ``b``, scaled to that distance.

            * ``NORM``: density proportional to ``exp(-epsilon |b| / distance)``: ``epsilon``-differentially private.
            * ``LAPLACE``: every coordinate with scale ``distance / epsilon``. It protects with ``sqrt(d) epsilon``.
            * ``GAUSSIAN``: ``(epsilon, delta)``-differentially private, by the analytic
              Gaussian mechanism of Balle and Wang 2018.
        delta: for Gaussian noise; ``1 / n`` if omitted.

    Raises:
        ValueError: an argument is out of range.

    Chaudhuri, Monteleoni and Sarwate 2011, algorithm 1; Ma, Zhu and Hsu 2019, whose loss and bound these are.

    >>> OutputPerturbation(1.0, ridge=100.0).perturbation(100)
    NormNoise(rate=25.0)
    """

    epsilon: float
    ridge: float = 10.0
    bound: float = 1.0
    _: KW_ONLY
    noise: PrivateNoise = PrivateNoise.NORM
    delta: float | None = None

    def __post_init__(self) -> None:
        _check(self.epsilon, self.delta, self.ridge, self.noise)
        _validate.positive(bound=self.bound)

    @property
    def label(self) -> str:
        return f"ridge_{self.noise.label}eps{self.epsilon:g}"

    @property
    def loss(self) -> MarginLoss:
        return SquaredMargin()

    def perturbation(self, rows: int) -> Perturbation:
        distance = 2 * (1 + self.bound) / self.ridge
        if self.noise is PrivateNoise.NORM:
            return NormNoise(self.epsilon / distance)
        if self.noise is PrivateNoise.LAPLACE:
            return LaplaceNoise(distance / self.epsilon)
        return GaussianNoise(gaussian_std(distance, epsilon=self.epsilon, delta=self.delta or 1 / rows))

    def solve(self, x: Tensor, signs: Tensor, noise: Tensor, *, start: Tensor | None = None) -> PrivateSolution:
        gram, moment = x.mT @ x, signs @ x
        theta, penalty = _bounded(gram, moment, self.ridge, self.bound)
        return PrivateSolution(theta[None], theta + noise, penalty > self.ridge, penalty)

    def adjoint(self, x: Tensor, signs: Tensor, solution: PrivateSolution, outer: Tensor) -> Tensor:
        weights = x.new_ones(1, len(x))
        matrix = hessian(x, weights, x.new_tensor(solution.penalty))
        q = solve(matrix, outer.sum(0, keepdim=True))
        if not solution.active:
            return q
        # A minimum on the sphere moves along the sphere only.
        along = solve(matrix, solution.minima)
        return q - along * ((q * solution.minima).sum() / (along * solution.minima).sum())


def _bounded(gram: Tensor, moment: Tensor, ridge: float, bound: float) -> tuple[Tensor, float]:
    """Minimise ``theta . gram theta / 2 - moment . theta + ridge/2 |theta|^2`` over ``|theta| <= bound``.

    Return the minimum, and the ridge for which it is the minimum without a bound.
    """

    def at(penalty: float) -> Tensor:
        return solve((gram + penalty * eye)[None], moment[None])[0]

    eye = torch.eye(len(moment), dtype=gram.dtype, device=gram.device)
    free = at(ridge)
    if free.norm() <= bound:
        return free, ridge
    values, vectors = torch.linalg.eigh(gram)
    parts = (vectors.mT @ moment).square()
    # The norm falls with the penalty, and is below |moment| / penalty.
    low, high = ridge, max(ridge, float(moment.norm()) / bound)
    for _ in range(200):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        outside = (parts / (values + middle).square()).sum() > bound**2
        low, high = (middle, high) if outside else (low, middle)
    return at(high), high
