"""Exact solution of a small support vector machine, with the rows on its margin."""

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from gradshape import _validate

# Relative to the mean of the Gram matrix's diagonal: makes the solution unique where rows depend on each other.
_RIDGE = 1e-10
# How far beyond its bound a margin may be, in units of the margin.
_TOLERANCE = 1e-9
_STEPS_PER_ROW = 30
_ROUGH_STEPS = 100_000


@dataclass(frozen=True, eq=False)
class SvmFit:
    """The classifier ``f(x) = sum_i alpha_i s_i K(x_i, x) + b``, which says class 1 where it is above 0.

    Attributes:
        alpha: ``(n,)`` float64 dual weights, exactly 0 for rows apart from the margin and exactly the bound for rows
            beyond it.
        b: bias.
        free: ``(n,)`` bool rows on the margin: ``s_i f(x_i) = 1`` and their weights are free to move.
        signs: ``(n,)`` float64 labels ``s``, -1 and 1.
    """

    alpha: Tensor
    b: float
    free: Tensor
    signs: Tensor

    def decide(self, cross: Tensor) -> Tensor:
        """Return ``(m,)`` values of ``f`` for rows with kernel values ``cross (m, n)`` to the training rows."""
        return cross @ (self.alpha * self.signs) + self.b


def fit_svm(gram: Tensor, signs: Tensor, *, bounds: Tensor, start: Tensor | None = None) -> SvmFit:
    """Minimise ``|f|^2 / 2 + sum_i c_i max(0, 1 - s_i f(x_i))``, through the dual, by active sets.

    Every step solves the optimality conditions of the free rows exactly, up to a bound that is hit; then the row that
    violates its condition most is freed. The result fulfils all of them to 1e-9, up to a ridge of 1e-10 of the kernel's
    mean diagonal, so that the rows on the margin are known and derivatives can go through the conditions.

    Args:
        gram: ``(n, n)`` float64 kernel values of the rows.
        signs: ``(n,)`` float64, -1 and 1, both present.
        bounds: ``(n,)`` float64 ``c``, above 0: the SVM's C, times how often the row occurs.
        start: ``(n,)`` dual weights of a near problem with the same signs and bounds; scikit-learn's if omitted.

    Raises:
        ValueError: a shape, sign or bound is not as above, or a value is not finite, or the conditions could not be met
            (``gram`` is far from positive semidefinite).

    Nocedal and Wright 2006, section 16.5, on the dual of Cortes and Vapnik 1995. Made for up to some hundreds of rows.

    >>> x, signs = torch.tensor([[0.0], [1.0], [3.0]]).double(), torch.tensor([-1.0, 1.0, 1.0]).double()
    >>> fit = fit_svm(x @ x.T, signs, bounds=torch.full((3,), 10.0).double())
    >>> fit.free.tolist(), [round(value, 6) for value in fit.decide(x @ x.T).tolist()]
    ([True, True, False], [-1.0, 1.0, 5.0])
    """
    rows = len(signs)
    if gram.shape != (rows, rows) or bounds.shape != (rows,):
        raise ValueError(
            f"gram of shape {tuple(gram.shape)} and bounds of shape {tuple(bounds.shape)}: "
            f"expected ({rows}, {rows}) and ({rows},)"
        )
    if not ({-1.0, 1.0} == set(signs.unique().tolist())):
        raise ValueError(f"signs {signs.unique().tolist()}: expected both -1 and 1, and nothing else")
    _validate.positive(least_bound=float(bounds.min()))
    if not bool(gram.isfinite().all()):
        raise ValueError("gram: expected finite values")
    q = signs[:, None] * signs * gram
    q.diagonal().add_(_RIDGE * max(float(gram.diagonal().mean()), torch.finfo(gram.dtype).tiny))
    if start is not None:
        fit = _active_set(q, signs, bounds, start)
        if fit is not None:
            return fit
    fit = _active_set(q, signs, bounds, _approximately(gram, signs, bounds))
    if fit is None:
        raise ValueError(f"gram: no solution in {_STEPS_PER_ROW * rows} steps: expected a positive semidefinite kernel")
    return fit


def _approximately(gram: Tensor, signs: Tensor, bounds: Tensor) -> Tensor:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import SVC

    svc = SVC(kernel="precomputed", C=1.0, tol=1e-4, max_iter=_ROUGH_STEPS, random_state=0)
    with warnings.catch_warnings():
        # The solution is only a start.
        warnings.simplefilter("ignore", ConvergenceWarning)
        svc.fit(gram.cpu().numpy(), signs.cpu().numpy(), sample_weight=bounds.cpu().numpy())
    alpha = torch.zeros_like(signs)
    alpha[torch.from_numpy(svc.support_).long()] = torch.from_numpy(abs(svc.dual_coef_[0])).to(alpha)
    return alpha


def _active_set(q: Tensor, signs: Tensor, bounds: Tensor, start: Tensor) -> SvmFit | None:
    alpha = torch.minimum(start.clamp_min(0), bounds)
    near = 1e-9 * bounds
    alpha = torch.where(alpha <= near, torch.zeros_like(alpha), torch.where(alpha >= bounds - near, bounds, alpha))
    free = (alpha > 0) & (alpha < bounds)
    for _ in range(_STEPS_PER_ROW * len(signs)):
        if bool(free.any()):
            goal, b = _on_the_face(q, signs, alpha, free)
            share, hit = _until_a_bound(alpha, goal, bounds, free)
            alpha = torch.where(free, alpha + share * (goal - alpha), alpha)
            if hit is not None:
                alpha[hit] = 0.0 if goal[hit] < alpha[hit] else bounds[hit]
                free[hit] = False
                continue
        else:
            b = _middle_bias(q, signs, alpha)
        slack = q @ alpha + signs * b - 1  # how far the margin s f exceeds 1
        wrong = torch.where(alpha > 0, slack, -slack).masked_fill(free, 0)
        worst = int(wrong.argmax())
        if float(wrong[worst]) <= _TOLERANCE:
            return SvmFit(alpha, b, free, signs)
        if not bool(free.any()):
            free[_partner(q, signs, alpha, worst)] = True
        free[worst] = True
    return None


def _on_the_face(q: Tensor, signs: Tensor, alpha: Tensor, free: Tensor) -> tuple[Tensor, float]:
    """Return the weights and the bias that are optimal while the weights of rows that are not free stay."""
    index = free.nonzero()[:, 0]
    size = len(index)
    fixed = alpha.masked_fill(free, 0)
    system = q.new_zeros(size + 1, size + 1)
    system[0, 1:] = system[1:, 0] = signs[index]
    system[1:, 1:] = q[index][:, index]
    right = q.new_empty(size + 1)
    right[0] = -(signs @ fixed)
    right[1:] = 1 - q[index] @ fixed
    solved = torch.linalg.solve(system, right)
    return alpha.index_copy(0, index, solved[1:]), float(solved[0])


def _until_a_bound(alpha: Tensor, goal: Tensor, bounds: Tensor, free: Tensor) -> tuple[float, int | None]:
    """Return the share of the way to ``goal`` that stays inside the bounds, and the row that stops it."""
    change = goal - alpha
    room = torch.where(change > 0, bounds - alpha, alpha)
    outside = free & ((goal < 0) | (goal > bounds))
    if not bool(outside.any()):
        return 1.0, None
    shares = torch.where(outside, room / change.abs(), torch.inf)
    hit = int(shares.argmin())
    return min(1.0, max(0.0, float(shares[hit]))), hit


def _middle_bias(q: Tensor, signs: Tensor, alpha: Tensor) -> float:
    """Return the middle of the biases that the rows' conditions allow, for when no row is on the margin."""
    low, high = _bias_bounds(q, signs, alpha)
    ends = [float(end) for end in (low.max(), high.min()) if bool(end.isfinite())]
    return sum(ends) / len(ends)


def _bias_bounds(q: Tensor, signs: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """Return the lower and the upper bound on the bias by each row's condition."""
    needed = signs * (1 - q @ alpha)
    from_below = (alpha == 0) == (signs > 0)
    infinite = torch.full_like(needed, torch.inf)
    return torch.where(from_below, needed, -infinite), torch.where(from_below, infinite, needed)


def _partner(q: Tensor, signs: Tensor, alpha: Tensor, row: int) -> int:
    """Return the row whose bound on the bias differs most, of those whose weights can move along with ``row``'s."""
    low, high = _bias_bounds(q, signs, alpha)
    return int(high.argmin()) if bool(low[row].isfinite()) else int(low.argmax())
