"""Softmax regression on few rows, in the span of the rows, many problems at once."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gradshape import _validate

_MOST_STEPS, _MOST_HALVINGS = 100, 40


def fit_dual_softmax(
    gram: Tensor,
    y: Tensor,
    *,
    num_classes: int,
    decay: float,
    start: Tensor | None = None,
    tolerance: float = 1e-8,
) -> Tensor:
    """Minimise ``sum_i CE(W x_i, y_i) + decay/2 |W|^2`` over the coefficients ``a`` of weights ``sum_i a_i x_i^T``.

    By the representer theorem the minimum lies in the span of the rows, so that inner products are enough: the cost
    does not depend on the number of features. Every step is an exact, damped Newton step; its ``n C`` equations
    are solved with ``C + 1`` Cholesky factors of ``n x n`` matrices, or with one where there are two classes. A bias
    that is regularised like the weights is a feature of 1: add 1 to every inner product.

    Args:
        gram: ``(*batch, n, n)`` float64 inner products of the rows of each problem.
        y: ``(*batch, n)`` int64 classes; a class may be absent.
        num_classes: ``C``, at least 1.
        decay: weight of the squared norm, above 0: the minimum is unique.
        start: ``(*batch, n, C)`` coefficients to start from; 0 if omitted.
        tolerance: on the largest violation of the optimality condition ``decay a = onehot(y) - softmax(W x)``.

    Returns:
        ``(*batch, n, C)`` coefficients. The logits of ``q`` are ``sum_i (q . x_i) a_i``.

    Raises:
        ValueError: ``decay`` or ``num_classes`` is out of range, an inner product is not finite, or a problem did not
            converge (a ``tolerance`` beyond rounding).

    Rasmussen and Williams 2006, algorithms 3.1 and 3.3.

    >>> x = torch.tensor([[0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    >>> a = fit_dual_softmax(x @ x.T, torch.tensor([0, 1]), num_classes=2, decay=1e-3)
    >>> (x @ x.T @ a).argmax(-1).tolist()
    [0, 1]
    """
    _validate.positive(decay=decay, tolerance=tolerance)
    _validate.positive_int(num_classes=num_classes)
    if not bool(gram.isfinite().all()):
        raise ValueError("gram: has values that are not finite: expected finite inner products")
    kernel = gram / decay
    onehot = one_hot(y, num_classes).to(gram.dtype)
    scaled = torch.zeros_like(onehot) if start is None else start * decay
    logits = kernel @ scaled
    value = _objective(scaled, logits, onehot)
    newton = _newton_for_two if num_classes == 2 else _newton
    for _ in range(_MOST_STEPS):
        probability = logits.softmax(-1)
        if bool((scaled - onehot + probability).abs().amax() <= tolerance):
            return scaled / decay
        step = newton(kernel, logits, probability, onehot) - scaled
        change = kernel @ step
        length = torch.ones(*value.shape, 1, 1, dtype=gram.dtype, device=gram.device)
        for _ in range(_MOST_HALVINGS):
            reached = _objective(scaled + length * step, logits + length * change, onehot)
            worse = reached > value + 1e-12 * (1 + value.abs())
            if not worse.any():
                break
            length = torch.where(worse[..., None, None], length / 2, length)
        scaled, logits, value = scaled + length * step, logits + length * change, reached
    raise ValueError(
        f"tolerance={tolerance!r}: not reached in {_MOST_STEPS} Newton steps with decay={decay!r}: "
        "expected a larger tolerance or decay"
    )


def _objective(scaled: Tensor, logits: Tensor, onehot: Tensor) -> Tensor:
    norm = (scaled * logits).sum((-1, -2)) / 2
    losses = logits.logsumexp(-1) - (onehot * logits).sum(-1)
    value: Tensor = norm + losses.sum(-1)
    return value


def _newton(kernel: Tensor, logits: Tensor, probability: Tensor, onehot: Tensor) -> Tensor:
    """Find the coefficients, times decay, that minimise the quadratic model at ``logits``."""
    # The Hessian of the losses is block-diagonal by class, but for a term that all classes share.
    root = probability.mT.sqrt()
    system = root.unsqueeze(-1) * kernel.unsqueeze(-3) * root.unsqueeze(-2)
    system.diagonal(dim1=-2, dim2=-1).add_(1)
    factor = torch.linalg.cholesky(system)
    half = torch.linalg.solve_triangular(factor, torch.diag_embed(root), upper=False)
    blocks = half.mT @ half
    shared = torch.linalg.cholesky(blocks.sum(-3))

    def solved(b: Tensor) -> Tensor:
        c = blocks @ (kernel @ b).mT.unsqueeze(-1)
        correction = torch.cholesky_solve(c.sum(-3), shared)
        found: Tensor = b - (c - blocks @ correction.unsqueeze(-3)).squeeze(-1).mT
        return found

    def curved(v: Tensor) -> Tensor:
        return probability * (v - (probability * v).sum(-1, keepdim=True))

    b = curved(logits) + onehot - probability
    coefficients = solved(b)
    # Terms that cancel leave errors of 1e-7 where inner products are large beside the decay: once more for the rest.
    return coefficients + solved(b - coefficients - curved(kernel @ coefficients))


def _newton_for_two(kernel: Tensor, logits: Tensor, probability: Tensor, onehot: Tensor) -> Tensor:
    """Step as :func:`_newton` does, for two classes, whose coefficients are opposite: the logits' difference counts."""
    # a_1 = -a_0 = a makes the difference 2 K a, and the squared norm 2 a^T K a.
    double = 2 * kernel
    curvature = probability.prod(-1)
    root = curvature.sqrt()
    system = root.unsqueeze(-1) * double * root.unsqueeze(-2)
    system.diagonal(dim1=-2, dim2=-1).add_(1)
    factor = torch.linalg.cholesky(system)

    def product(v: Tensor) -> Tensor:
        return (double @ v.unsqueeze(-1)).squeeze(-1)

    def solved(b: Tensor) -> Tensor:
        found: Tensor = b - root * torch.cholesky_solve((root * product(b)).unsqueeze(-1), factor).squeeze(-1)
        return found

    b = curvature * (logits[..., 1] - logits[..., 0]) + onehot[..., 1] - probability[..., 1]
    coefficients = solved(b)
    coefficients = coefficients + solved(b - coefficients - curvature * product(coefficients))
    return torch.stack([-coefficients, coefficients], dim=-1)
