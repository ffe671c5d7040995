"""L2-regularised logistic regression, and other smooth margin losses, by Newton's method, many problems at once."""

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.learners.margin_loss import Logistic, MarginLoss

_MOST_STEPS, _MOST_HALVINGS = 200, 50
# Where the products x x^T of all rows have fewer numbers than this, all Hessians are one matrix product.
_MOST_PRODUCTS = 4_000_000


def fit_logistic(
    x: Tensor,
    signs: Tensor,
    *,
    ridge: float | Tensor,
    loss: MarginLoss | None = None,
    tilt: Tensor | None = None,
    start: Tensor | None = None,
    tolerance: float = 1e-10,
) -> Tensor:
    """Find the ``theta`` that minimises ``sum_i loss(z_i (theta . x_i)) + ridge/2 |theta|^2 + tilt . theta``.

    Damped Newton steps with exact Hessians; all problems of a batch step together. There is no bias: append a feature
    of 1 for one that is regularised like the weights.

    Args:
        x: ``(n, d)`` float64 rows that all problems share, or ``(K, n, d)``, one set a problem.
        signs: ``(n,)`` or ``(K, n)`` labels ``z``: -1 and 1, or anything between them (relaxed labels).
        ridge: greater than 0, so that the minimum is unique; a tensor is broadcast against ``(K, d)``. In the unit of
            one row's loss: ``1 / C`` of scikit-learn, and ``n`` times the weight beside a *mean* loss.
        loss: of the margins; logistic if omitted.
        tilt: ``(d,)`` or ``(K, d)`` linear term; none if omitted.
        start: ``(d,)`` or ``(K, d)`` to start from; 0 if omitted.
        tolerance: steps end when the last one is predicted to gain less than ``tolerance^2`` of ``1 + |objective|``.

    Returns:
        ``(d,)`` if no argument has a problem axis, else ``(K, d)``.

    Raises:
        ValueError: ``ridge`` or ``tolerance`` is not positive, or the steps did not converge (values that are not
            finite).

    Boyd and Vandenberghe 2004, sections 9.5 and 10.1.

    >>> x = torch.tensor([[1.0], [1.0], [-1.0], [1.0]], dtype=torch.float64)
    >>> signs = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    >>> round(fit_logistic(x, signs, ridge=1e-9).item(), 6)  # three of four rows agree: log 3
    1.098612
    """
    loss = loss or Logistic()
    _validate.positive(tolerance=tolerance)
    penalty = torch.as_tensor(ridge, dtype=x.dtype, device=x.device)
    if not (bool(penalty.isfinite().all()) and bool((penalty > 0).all())):
        raise ValueError(f"ridge={ridge!r}: expected finite numbers greater than 0")
    single = (
        x.ndim == 2 and signs.ndim == 1 and all(t is None or t.ndim == 1 for t in (tilt, start)) and penalty.ndim < 2
    )
    shapes = [x.shape[:-2], signs.shape[:-1], penalty.shape[:-1]]
    shapes += [t.shape[:-1] for t in (tilt, start) if t is not None]
    problems = max([*torch.broadcast_shapes(*shapes), 1])
    theta = x.new_zeros(problems, x.shape[-1])
    if start is not None:
        theta += start
    linear = x.new_zeros(1) if tilt is None else tilt
    scores = linear_scores(x, theta)
    value = _objective(signs * scores, theta, loss, penalty, linear)
    for _ in range(_MOST_STEPS):
        margins = signs * scores
        gradient = weighted_sum(x, signs * loss.slope(margins)) + penalty * theta + linear
        step = -solve(hessian(x, signs.square() * loss.curvature(margins), penalty), gradient)
        gain = -(gradient * step).sum(-1)
        change = linear_scores(x, step)
        length = torch.ones_like(value)
        for _ in range(_MOST_HALVINGS):
            reached = _objective(
                signs * (scores + length[:, None] * change), theta + length[:, None] * step, loss, penalty, linear
            )
            # What is left after the last halvings is rounding.
            worse = reached > value - 1e-4 * length * gain + 1e-13 * (1 + value.abs())
            if not worse.any():
                break
            length = torch.where(worse, length / 2, length)
        theta, scores, value = theta + length[:, None] * step, scores + length[:, None] * change, reached
        if bool((gain <= tolerance**2 * (1 + value.abs())).all()):
            return theta[0] if single else theta
    raise ValueError(
        f"ridge={ridge!r}: no minimum in {_MOST_STEPS} Newton steps: expected finite rows and labels, or a larger ridge"
    )


def linear_scores(x: Tensor, theta: Tensor) -> Tensor:
    """Compute the scores ``(K, n)`` of rows ``x`` ``(n, d)`` or ``(K, n, d)`` by parameters ``theta (K, d)``."""
    return theta @ x.mT if x.ndim == 2 else (x @ theta.unsqueeze(-1)).squeeze(-1)


def weighted_sum(x: Tensor, weights: Tensor) -> Tensor:
    """Sum ``weights_i x_i`` to ``(K, d)``, for rows ``x`` ``(n, d)`` or ``(K, n, d)`` with weights ``(K, n)``."""
    return weights @ x if x.ndim == 2 else (weights.unsqueeze(-2) @ x).squeeze(-2)


def hessian(x: Tensor, weights: Tensor, ridge: Tensor) -> Tensor:
    """Compute ``sum_i weights_i x_i x_i^T + diag(ridge)``, ``(K, d, d)``.

    Rows ``x`` are ``(n, d)`` or ``(K, n, d)``, their weights ``(K, n)``; ``ridge`` is broadcast against ``(K, d)``.
    """
    rows, width = x.shape[-2:]
    total: Tensor
    if x.ndim == 2 and len(weights) > 1 and rows * width * width <= _MOST_PRODUCTS:
        products = (x.unsqueeze(-1) * x.unsqueeze(-2)).flatten(1)
        total = (weights @ products).unflatten(1, (width, width))
    elif x.ndim == 2:
        # The problems go one at a time, as a batched product would copy the rows for each.
        total = torch.stack([x.mT @ (own.unsqueeze(-1) * x) for own in weights])
    else:
        total = x.mT @ (weights.unsqueeze(-1) * x)
    total.diagonal(dim1=-2, dim2=-1).add_(ridge)
    return total


def solve(matrix: Tensor, right: Tensor) -> Tensor:
    """Compute ``matrix^-1 right`` for positive definite matrices ``(K, d, d)`` and vectors ``(K, d)``."""
    factor = torch.linalg.cholesky(matrix)
    solution: Tensor = torch.cholesky_solve(right.unsqueeze(-1), factor).squeeze(-1)
    return solution


def _objective(margins: Tensor, theta: Tensor, loss: MarginLoss, ridge: Tensor, tilt: Tensor) -> Tensor:
    losses = loss.value(margins).sum(-1)
    return losses + (ridge / 2 * theta.square() + tilt * theta).sum(-1)
