"""The weights that bring per-sample gradients down to a clipping norm."""

import torch
from torch import Tensor

from gradshape import _validate


def clip_weights(norms: Tensor, max_norm: float) -> Tensor:
    """Return factors ``w_i = min(1, max_norm / norms_i)``, which scale every gradient to norm ``max_norm`` at most.

    Formal guarantee: for every finite norm, ``0 <= w_i <= 1`` and ``w_i * norms_i <= max_norm`` up to one rounding
    of ``norms.dtype``; ``w_i`` depends on ``norms_i`` alone.

    Edge cases:

    ============  =========  ================================================
    ``max_norm``  ``norms``  weight
    ============  =========  ================================================
    0             any        0, also where the norm is 0
    infinity      any        1, NaN where the norm is NaN
    positive      0          1: a zero gradient is within every clipping norm
    positive      infinity   0
    positive      NaN        NaN: what is unknown is not hidden
    ============  =========  ================================================

    Args:
        norms: ``(..., B)`` floating point, at least 0: per-sample gradient norms.
        max_norm: clipping norm in [0, inf].

    Returns:
        ``(..., B)``, dtype and device of ``norms``.

    Raises:
        ValueError: ``max_norm`` is negative or NaN.

    Abadi et al. 2016, "Deep learning with differential privacy", Algorithm 1: https://arxiv.org/abs/1607.00133.

    >>> clip_weights(torch.tensor([0.0, 1.0, 4.0]), 2.0)
    tensor([1.0000, 1.0000, 0.5000])
    """
    _validate.non_negative(max_norm=max_norm)
    if max_norm == 0:
        return torch.zeros_like(norms)
    numbers = torch.finfo(norms.dtype)
    if numbers.tiny <= max_norm <= numbers.max:
        return norms.reciprocal().mul_(max_norm).clamp_(max=1)
    # A limit that rounds to 0 or to infinity makes a quotient NaN where the norm does so, too.
    return torch.where(norms <= max_norm, 1.0, max_norm / norms)
