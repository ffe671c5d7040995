"""Minimisation of the hinge loss over a ball, exact up to a certified gap."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gradshape import _validate

_MOST_STEPS, _MOST_SHIFTS = 200, 60
_FIRST_WIDTH, _NARROWER = 1.0, 0.2
# A start near the minimum needs little smoothing, which few rows are then within.
_WIDTH_FROM_NEAR = 0.04


@dataclass(frozen=True, eq=False)
class HingeFit:
    """A linear classifier that says class 1 where ``w . x + b > 0``.

    Attributes:
        w: ``(d,)`` float64 weights.
        b: bias.
        objective: its weighted sum of hinge losses.
        lower: lower bound on the objective of every classifier in the ball: a dual value.
    """

    w: Tensor
    b: float
    objective: float
    lower: float

    @property
    def gap(self) -> float:
        """Upper bound on the excess of the objective over the least one; at least 0 up to rounding."""
        return self.objective - self.lower


def signed_rows(x: Tensor, y: Tensor) -> Tensor:
    """Append a 1 to the rows ``x (n, d)`` and turn the signs of those of class 0; ``(n, d + 1)`` float64.

    Their products with weights and bias are the margins.

    >>> signed_rows(torch.tensor([[0.5], [0.25]]), torch.tensor([1, 0])).tolist()
    [[0.5, 1.0], [-0.25, -1.0]]
    """
    sign = (2 * y - 1).double()[:, None]
    return torch.cat([sign * x.double(), sign], dim=1)


def hinge_losses(x: Tensor, y: Tensor, w: Tensor, b: float) -> Tensor:
    """Compute the losses ``max(0, 1 - s (w . x + b))``, ``(n,)`` float64; ``s`` is 1 for class 1 and -1 for class 0.

    >>> hinge_losses(torch.tensor([[0.25], [2.0]]), torch.tensor([1, 0]), torch.ones(1).double(), 0.0).tolist()
    [0.75, 3.0]
    """
    return (1 - (2 * y - 1) * (x.double() @ w + b)).clamp_min(0)


def fit_hinge(
    x: Tensor,
    y: Tensor,
    *,
    rho: float,
    weights: Tensor | None = None,
    tolerance: float = 1e-6,
    start: HingeFit | None = None,
) -> HingeFit:
    """Minimise ``sum_i c_i max(0, 1 - s_i (w . x_i + b))`` over ``|w|^2 + b^2 <= rho^2``.

    The hinge is smoothed by a parabola over a width that shrinks; every smoothed problem is solved by Newton steps
    whose quadratic model is minimised over the ball exactly. The slopes of the smoothed hinge are feasible in the dual
    ``max sum_i c_i a_i - rho |sum_i c_i a_i s_i (x_i, 1)|``, ``0 <= a <= 1``, which certifies the gap.

    Args:
        x: ``(n, d)`` rows.
        y: ``(n,)`` int64, 0 or 1.
        rho: radius of the ball, above 0; the bias counts.
        weights: ``(n,)`` the ``c``, at least 0; ``1 / n`` each if omitted. A row that occurs ``k`` times is one row of
            ``k`` times the weight.
        tolerance: stop where the gap is at most this times the sum of the weights.
        start: the fit to similar rows, which makes it several times as fast; the gap that is reached is the same.

    Raises:
        ValueError: ``rho`` or the weights are out of range, a label is not 0 or 1, there are no rows, or the gap is
            not reached (rows that are not finite, or a tolerance beyond rounding).

    Steinhardt, Koh and Liang 2017, section 2. Their code bisects on weight decay instead.

    >>> fit = fit_hinge(torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1]), rho=1.0)
    >>> round(fit.objective, 4), fit.gap < 1e-6
    (0.5, True)
    """
    _validate.positive(rho=rho, tolerance=tolerance)
    if len(x) == 0:
        raise ValueError("x: expected at least 1 row, got none")
    if not bool(((y == 0) | (y == 1)).all()):
        raise ValueError(f"labels {y.unique().tolist()}: expected 0 and 1 only")
    c = torch.full((len(x),), 1 / len(x), dtype=torch.float64, device=x.device) if weights is None else weights.double()
    if c.shape != (len(x),) or not bool((c >= 0).all()) or not bool(c.isfinite().all()):
        raise ValueError(f"weights of shape {tuple(c.shape)}: expected {len(x)} finite numbers of at least 0")
    used = c > 0
    c = c[used]
    rows = signed_rows(x[used], y[used])
    theta = torch.zeros(rows.shape[1], dtype=rows.dtype, device=rows.device)
    if start is not None:
        theta = torch.cat([start.w, start.w.new_tensor([start.b])])
        theta = theta * min(1.0, rho / max(float(theta.norm()), torch.finfo(theta.dtype).tiny))
    width = _FIRST_WIDTH if start is None else _WIDTH_FROM_NEAR
    return _fit(rows, c, rho, tolerance * max(float(c.sum()), torch.finfo(torch.float64).tiny), theta, width)


def _fit(rows: Tensor, c: Tensor, rho: float, tolerance: float, theta: Tensor, width: float) -> HingeFit:
    """Fit as :func:`fit_hinge` does, to rows of :func:`signed_rows`."""
    margins = rows @ theta
    # Parameters of 0 are in every ball.
    best, objective, lower = torch.zeros_like(theta), float(c.sum()), 0.0
    for _ in range(_MOST_STEPS):
        slope = ((1 - margins) / width).clamp(0, 1)
        pull = rows.T @ (c * slope)
        attained = float(c @ (1 - margins).clamp_min(0))
        if attained < objective:
            best, objective = theta, attained
        length = rho * float(pull.norm())
        lower = max(lower, float(c @ slope) - length)
        if objective - lower <= tolerance:
            return HingeFit(best[:-1], float(best[-1]), objective, lower)
        # What is left of the gap is due to the smoothing once the smoothed problem is nearly solved.
        unsolved = length - float(theta @ pull)
        if unsolved <= 0.3 * (attained - float(c @ slope) + length):
            width *= _NARROWER
            continue
        curved = (slope > 0) & (slope < 1)
        bent = rows[curved]
        curvature = c[curved] / width
        hessian = bent.T @ (curvature[:, None] * bent)
        goal = _in_the_ball(hessian, pull + hessian @ theta, rho)
        change = rows @ (goal - theta)
        share = _best_share(margins, change, c, width)
        theta, margins = theta + share * (goal - theta), margins + share * change
    raise ValueError(
        f"tolerance={tolerance!r}: a gap of {objective - lower:g} was left after {_MOST_STEPS} steps: "
        "expected finite rows and a larger tolerance"
    )


def _in_the_ball(hessian: Tensor, linear: Tensor, rho: float) -> Tensor:
    """Minimise ``q . H q / 2 - linear . q`` over ``|q| <= rho``: More and Sorensen's Newton steps on ``1 / |q|``."""
    damping = 1e-13 * float(hessian.diagonal().sum()) + 1e-12 * float(linear.norm()) / rho
    q = linear
    for _ in range(_MOST_SHIFTS):
        damped = hessian.clone()
        damped.diagonal().add_(damping)
        factor, failed = torch.linalg.cholesky_ex(damped)
        if int(failed):
            damping *= 10
            continue
        q = torch.cholesky_solve(linear[:, None], factor).squeeze(1)
        length = float(q.norm())
        if length <= rho * (1 + 1e-12):
            break
        half = torch.linalg.solve_triangular(factor, q[:, None], upper=False)
        damping += (length / float(half.norm())) ** 2 * (length - rho) / rho
    return q * min(1.0, rho / max(float(q.norm()), torch.finfo(q.dtype).tiny))


def _best_share(margins: Tensor, change: Tensor, c: Tensor, width: float) -> float:
    """Find the share in [0, 1] at which the smoothed loss of ``margins + share * change`` is least."""
    low, high = 0.0, 1.0
    weighted = c * change

    def slope(share: float) -> float:
        return -float(weighted @ ((1 - margins - share * change) / width).clamp(0, 1))

    if slope(1.0) <= 0:
        return 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return (low + high) / 2
