"""The direction along which rows spread most, and the rows that lie far out along it."""

import torch
from torch import Tensor

from gradshape import _validate

_TOLERANCE = 1e-14


def top_direction(rows: Tensor, *, generator: torch.Generator, iterations: int = 100) -> Tensor:
    """Find the right singular vector of the largest singular value by power iteration, without a ``p x p`` matrix.

    Args:
        rows: ``(n, p)`` float64.
        generator: draws the start.
        iterations: at most; fewer if the direction turns no more.

    Returns:
        ``(p,)`` of length 1, its sign that of its largest entry; 0 if all rows are.

    >>> rows = torch.tensor([[3.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    >>> round(top_direction(rows, generator=torch.Generator().manual_seed(0))[0].item(), 6)
    1.0
    """
    _validate.positive_int(iterations=iterations)
    v = _unit(torch.randn(rows.shape[1], dtype=rows.dtype, generator=generator).to(rows.device))
    for _ in range(iterations):
        turned = _unit(rows.T @ (rows @ v))
        moved = float((turned - v).abs().max())
        v = turned
        if moved <= _TOLERANCE:
            break
    return v * v[v.abs().argmax()].sign()


def spectral_outliers(rows: Tensor, *, share: float, generator: torch.Generator) -> Tensor:
    """Find the rows that lie far from the mean along the direction of most spread: one filter of SEVER.

    The scores are ``|v . (g_i - mean g)|``; rows whose score is at least the ``(1 - share)``-quantile are outliers. No
    row is if that quantile is 0 (as where most rows are equal), if all scores are equal, or if ``share`` is 0.

    Args:
        rows: ``(n, p)`` float64, at least 1.
        share: in [0, 1].
        generator: draws the start of the power iteration.

    Returns:
        ``(n,)`` bool.

    Raises:
        ValueError: ``share`` is out of range.

    Diakonikolas et al. 2019, algorithm 2; the quantile instead of a random threshold as in their code.

    >>> rows = torch.tensor([[0.0], [0.1], [-0.1], [0.2], [5.0]], dtype=torch.float64)
    >>> spectral_outliers(rows, share=0.2, generator=torch.Generator().manual_seed(0)).tolist()
    [False, False, False, False, True]
    """
    _validate.fraction(share=share)
    if share == 0:
        return torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
    centred = rows - rows.mean(0)
    scores = (centred @ top_direction(centred, generator=generator)).abs()
    limit = scores.quantile(1 - share)
    out = (scores >= limit) & (limit > 0)
    return out & ~out.all()


def _unit(v: Tensor) -> Tensor:
    length: Tensor = v.norm().clamp_min(torch.finfo(v.dtype).tiny)
    return v / length
