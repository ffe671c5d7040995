"""Linear regression with an intercept (ordinary, ridge, lasso, elastic net), and how fits move with their rows."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gradshape import _validate

_MOST_STEPS = 10_000
# Differences are rounding if they are smaller than this share of the covariances between features and values.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Penalty:
    """The term ``l1 |w|_1 + l2/2 |w|^2`` that is added to half the *mean* squared error. The intercept is free.

    Args:
        l1: at least 0. It is the ``alpha`` of scikit-learn's ``Lasso``.
        l2: at least 0. It is the ``alpha`` of scikit-learn's ``Ridge`` divided by the number of rows, as ``Ridge`` adds
            to the sum of the squared errors.

    Raises:
        ValueError: a weight is negative or not finite.

    Without either it is ordinary least squares, with both an elastic net.

    >>> Penalty(l1=0.5, l2=2.0).value(torch.tensor([1.0, -1.0])).item()
    3.0
    """

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        _validate.finite_non_negative(l1=self.l1, l2=self.l2)

    @property
    def label(self) -> str:
        """Name for ids, such as ``l1-0.5_l2-2``; weights of 0 are left out."""
        parts = [f"{name}-{weight:g}" for name, weight in (("l1", self.l1), ("l2", self.l2)) if weight]
        return "_".join(parts) or "ols"

    def value(self, w: Tensor) -> Tensor:
        """Compute the penalty of weights ``(d,)``."""
        return self.l1 * w.abs().sum() + self.l2 / 2 * w.square().sum()


@dataclass(frozen=True, eq=False)
class LinearFit:
    """A model that predicts ``w . x + b``.

    Attributes:
        w: ``(d,)`` float64.
        b: float64 scalar.
    """

    w: Tensor
    b: Tensor

    def predict(self, x: Tensor) -> Tensor:
        """Return ``(n,)`` float64 predictions for rows ``(n, d)``."""
        return x.to(self.w.dtype) @ self.w + self.b

    def mse(self, x: Tensor, y: Tensor) -> float:
        """Compute the mean squared error on rows ``(n, d)`` with values ``(n,)``."""
        return float((self.predict(x) - y).square().mean())


@dataclass(frozen=True, eq=False)
class _Moments:
    mean_x: Tensor
    mean_y: Tensor
    covariance: Tensor
    with_y: Tensor

    @classmethod
    def from_rows(cls, x: Tensor, y: Tensor, weights: Tensor | None) -> "_Moments":
        if len(x) == 0 or len(x) != len(y):
            raise ValueError(f"x of {len(x)} rows, y of {len(y)}: expected equal numbers of at least 1")
        share = torch.full((len(y),), 1 / len(y), dtype=torch.float64, device=x.device)
        if weights is not None:
            if weights.shape != y.shape or not bool((weights >= 0).all()) or not 0 < float(weights.sum()) < torch.inf:
                raise ValueError(f"weights of shape {tuple(weights.shape)}: expected {len(y)} of at least 0, not all 0")
            share = weights.double() / weights.double().sum()
        rows, values = x.double(), y.double()
        mean_x, mean_y = share @ rows, share @ values
        centred = rows - mean_x
        weighted = share[:, None] * centred
        covariance, with_y = centred.T @ weighted, weighted.T @ (values - mean_y)
        if not bool(covariance.isfinite().all() and with_y.isfinite().all()):
            raise ValueError(f"{len(x)} rows with values that are not finite, or too large: expected finite rows")
        return cls(mean_x, mean_y, covariance, with_y)


def fit_linear(
    x: Tensor,
    y: Tensor,
    *,
    penalty: Penalty = Penalty(),
    weights: Tensor | None = None,
    start: LinearFit | None = None,
) -> LinearFit:
    """Minimise ``sum_i c_i (w . x_i + b - y_i)^2 / (2 sum_i c_i) + l1 |w|_1 + l2/2 |w|^2``, exactly up to rounding.

    Without ``l1`` it is one linear solve; where the minimum is not unique, the one with the least ``|w|``. With ``l1``
    it is a search over signs, each step a solve on the features whose weights are not 0; it ends after finitely many.

    Args:
        x: ``(n, d)`` rows.
        y: ``(n,)`` values.
        penalty: of the weights; none by default.
        weights: ``(n,)`` the ``c``, at least 0 and not all 0; equal if omitted.
        start: fit to start the search over signs from, which saves time only.

    Raises:
        ValueError: there are no rows, their numbers differ, a value is not finite, or weights are out of range.

    Jagielski et al. 2018, section II; the search is that of Lee, Battle, Raina and Ng 2007, algorithm 1.

    >>> fit = fit_linear(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([1.0, 3.0, 5.0]))
    >>> round(fit.w.item(), 6), round(fit.b.item(), 6)
    (2.0, 1.0)
    """
    moments = _Moments.from_rows(x, y, weights)
    system = moments.covariance.clone()
    system.diagonal().add_(penalty.l2)
    if penalty.l1 == 0:
        w = _solve(system, moments.with_y)
    else:
        w = _signed(system, moments.with_y, penalty.l1, None if start is None else start.w)
    return LinearFit(w, moments.mean_y - moments.mean_x @ w)


def training_objective(
    x: Tensor, y: Tensor, fit: LinearFit, *, penalty: Penalty = Penalty(), weights: Tensor | None = None
) -> float:
    """Return the objective that :func:`fit_linear` minimises, at ``fit``.

    >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([0.0, 2.0])
    >>> training_objective(x, y, LinearFit(torch.zeros(1).double(), torch.tensor(0.0).double()))
    1.0
    """
    squared = (fit.predict(x) - y).square()
    mean = squared.mean() if weights is None else weights.double() @ squared / weights.double().sum()
    return float(mean / 2 + penalty.value(fit.w))


def row_gradients(
    x: Tensor,
    y: Tensor,
    fit: LinearFit,
    outer_w: Tensor,
    outer_b: Tensor,
    *,
    penalty: Penalty = Penalty(),
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of an objective ``A(w, b)`` with respect to the rows and values that were fitted to.

    With ``q = H^-1 (dA/dw, dA/db)``, ``H`` the Hessian of the training objective, and the residuals
    ``r = w . x + b - y``, ``dA/dx_i = -c_i ((q_w . x_i + q_b) w + r_i q_w)`` and ``dA/dy_i = c_i (q_w . x_i + q_b)``;
    the ``c_i`` sum to 1. One solve serves all rows. With ``l1`` all of it is restricted to the features whose weights
    are not 0 (the active set, which small moves do not change); the others do not move.

    Args:
        x, y, penalty, weights: as the fit was made by :func:`fit_linear`.
        fit: its result.
        outer_w: ``(d,)`` float64, ``dA/dw``.
        outer_b: float64 scalar, ``dA/db``.

    Returns:
        ``(n, d)`` and ``(n,)`` float64.

    Jagielski et al. 2018, section III, with the Hessian of all rows, poison included: their code takes the clean ones.

    >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([0.0, 2.0])  # w = y_1 - y_0, b = y_0
    >>> fit = fit_linear(x, y)
    >>> row_gradients(x, y, fit, torch.ones(1).double(), torch.tensor(0.0).double())[1].tolist()
    [-1.0, 1.0]
    """
    moments = _Moments.from_rows(x, y, weights)
    share = torch.full_like(y, 1 / len(y), dtype=torch.float64) if weights is None else weights.double()
    share = share / share.sum()
    active = fit.w != 0 if penalty.l1 else torch.ones_like(fit.w, dtype=torch.bool)
    system = moments.covariance[active][:, active]
    system.diagonal().add_(penalty.l2)
    q_w = torch.zeros_like(fit.w)
    q_w[active] = _solve(system, (outer_w - moments.mean_x * outer_b)[active])
    q_b = outer_b - moments.mean_x @ q_w
    along = share * (x.double() @ q_w + q_b)
    residuals = share * (fit.predict(x) - y)
    return -(along[:, None] * fit.w + residuals[:, None] * q_w), along


def _solve(system: Tensor, right: Tensor) -> Tensor:
    """Compute ``system^-1 right`` for a symmetric system; of several solutions, the shortest."""
    factor, failed = torch.linalg.cholesky_ex(system)
    diagonal = factor.diagonal()
    if len(right) and (int(failed) or float(diagonal.min()) <= 1e-6 * float(diagonal.max())):
        inverse: Tensor = torch.linalg.pinv(system, hermitian=True, rtol=_ROUNDING)
        return inverse @ right
    return torch.cholesky_solve(right[:, None], factor).squeeze(1)


def _signed(system: Tensor, linear: Tensor, l1: float, start: Tensor | None) -> Tensor:
    """Minimise ``w . system w / 2 - linear . w + l1 |w|_1``."""
    tolerance = _ROUNDING * max(float(linear.abs().max()), l1)
    w = torch.zeros_like(linear) if start is None else start.clone()
    signs = w.sign()
    for _ in range(_MOST_STEPS):
        slope = system @ w - linear
        active = signs != 0
        if bool(((slope + l1 * signs)[active].abs() <= tolerance).all()):
            excess = torch.where(active, 0, slope.abs() - l1)
            if float(excess.max()) <= tolerance:
                return w
            enters = int(excess.argmax())
            signs[enters] = -slope[enters].sign()
            active[enters] = True
        goal = torch.zeros_like(w)
        goal[active] = _solve(system[active][:, active], (linear - l1 * signs)[active])
        w = _towards(w, goal, system, linear, l1)
        signs = w.sign()
    raise ValueError(f"l1={l1!r}: no minimum after {_MOST_STEPS} changes of signs: expected a larger penalty")


def _towards(w: Tensor, goal: Tensor, system: Tensor, linear: Tensor, l1: float) -> Tensor:
    """Find the best of the goal and of the points between ``w`` and it at which a weight changes its sign."""
    crossing = (w * goal < 0).nonzero().squeeze(1)
    points = [goal]
    for feature in crossing.tolist():
        share = w[feature] / (w[feature] - goal[feature])
        point = w + share * (goal - w)
        point[feature] = 0
        points.append(point)
    values = [float(point @ (system @ point) / 2 - linear @ point + l1 * point.abs().sum()) for point in points]
    return points[values.index(min(values))]
