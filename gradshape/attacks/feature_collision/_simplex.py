"""The probability simplex: projection onto it, and the point of a polytope that is nearest to another point."""

import torch
from torch import Tensor

# How often it is looked up whether all problems are solved.
_EVERY = 10


def project_simplex(values: Tensor) -> Tensor:
    """Return the nearest points ``c`` with ``c >= 0`` and ``sum(c) = 1``.

    Args:
        values: ``(..., J)`` floating and finite, ``J`` at least 1.

    Returns:
        as ``values``.

    Held, Wolfe and Crowder 1974; Duchi et al. 2008, figure 1, by sorting.

    >>> project_simplex(torch.tensor([[0.5, 0.5], [3.0, 0.0], [0.75, 0.25], [0.5, 1.0]])).tolist()
    [[0.5, 0.5], [1.0, 0.0], [0.75, 0.25], [0.25, 0.75]]
    """
    ordered = values.sort(dim=-1, descending=True).values
    counts = torch.arange(1, values.shape[-1] + 1, device=values.device, dtype=values.dtype)
    excess = (ordered.cumsum(-1) - 1) / counts
    support = (ordered > excess).sum(-1, keepdim=True)
    return (values - excess.gather(-1, support - 1)).clamp_min(0)


def nearest_in_polytope(
    corners: Tensor, goal: Tensor, *, start: Tensor | None = None, steps: int = 10_000, tolerance: float = 1e-6
) -> Tensor:
    """Find the ``c`` of the simplex that minimise ``|goal - sum_j c_j corners_j|``, many problems at once.

    Projected gradient descent with steps ``1/L``, where ``L`` is the largest eigenvalue of the ``J x J`` Gram matrix of
    ``goal - corners_j`` (on the simplex this is the same problem, better scaled), and momentum that restarts where it
    points uphill.

    Args:
        corners: ``(..., J, f)`` floating.
        goal: ``(..., f)``.
        start: ``(..., J)`` on the simplex, uniform if omitted.
        steps: at most.
        tolerance: it ends where no coefficient of any problem changes by more in a step.

    Returns:
        ``(..., J)``. They are unique only if the corners are affinely independent; the nearest point is unique.

    Zhu et al. 2019, whose authors take steps of ``2/L``, with ``L`` from one random vector, and shorten
    them where the residual rises. Beck and Teboulle 2009; O'Donoghue and Candès 2015 (restarts).

    >>> corners = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> nearest_in_polytope(corners, torch.tensor([0.5, -1.0])).mul(100).round().div(100).tolist()
    [0.75, 0.25, 0.0]
    """
    apart = goal.unsqueeze(-2) - corners
    gram = apart @ apart.mT
    highest = torch.linalg.eigvalsh(gram)[..., -1:].clamp_min(torch.finfo(gram.dtype).tiny)
    point = corners.new_full(corners.shape[:-1], 1 / corners.shape[-2]) if start is None else start
    ahead, momentum = point, torch.ones_like(highest)
    for step in range(1, steps + 1):
        before = point
        point = project_simplex(ahead - (gram @ ahead.unsqueeze(-1)).squeeze(-1) / highest)
        uphill = ((ahead - point) * (point - before)).sum(-1, keepdim=True) > 0
        momentum = torch.where(uphill, torch.ones_like(momentum), momentum)
        grown = (1 + (1 + 4 * momentum.square()).sqrt()) / 2
        ahead = point + torch.where(uphill, torch.zeros_like(grown), (momentum - 1) / grown) * (point - before)
        momentum = grown
        if step % _EVERY == 0 and bool((point - before).abs().max() <= tolerance):
            break
    return point
