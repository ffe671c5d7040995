"""Maximisation over the part of a sphere-and-slab set in a half-space, many problems at once."""

import torch
from torch import Tensor

from gradshape.constraints.feasible import SphereSlab

_MOST_DOUBLINGS, _MOST_STEPS = 40, 40
_TINY = torch.finfo(torch.float64).tiny


def maximise_capped(one: SphereSlab, g: Tensor, *, normal: Tensor, least: Tensor, tolerance: float = 1e-5) -> Tensor:
    """Maximise ``g . x`` over points of the set with ``normal . x >= least``.

    The multiplier of the half-space is a root of a monotone function, which is bracketed; the point returned lies
    between the maximisers at both ends of the bracket.

    Args:
        one: the set.
        g: ``(B, d)`` float64, one problem a row.
        normal: ``(B, d)``.
        least: ``(B,)``.
        tolerance: stop where the maximum is known up to this times ``|g| radius``.

    Returns:
        ``(B, d)`` points of the set. Where no point of the set is in the half-space, the point is near the half-space.

    >>> disc = SphereSlab(torch.zeros(2).double(), 1.0, torch.zeros(2).double(), half_width=0.0)
    >>> right, up = torch.eye(2, dtype=torch.float64)[:, None]
    >>> [round(value, 3) for value in maximise_capped(disc, right, normal=up, least=torch.tensor([0.6]))[0].tolist()]
    [0.8, 0.6]
    """
    x = one.maximise(g).x
    short = ((x * normal).sum(1) < least).nonzero()[:, 0]
    if len(short):
        x[short] = _on_the_cap(one, g[short], x[short], normal[short], least[short], tolerance)
    return x


def _on_the_cap(one: SphereSlab, g: Tensor, outside: Tensor, normal: Tensor, least: Tensor, tolerance: float) -> Tensor:
    """Return points with ``normal . x = least``; the maximisers ``outside`` are below it."""

    def above(x: Tensor) -> Tensor:
        return (x * normal).sum(1) - least

    length = g.norm(dim=1).clamp_min(_TINY)
    low = torch.zeros_like(length)
    high = length / normal.norm(dim=1).clamp_min(_TINY)
    # Where even the farthest point falls short of the half-space, it is returned.
    farthest = one.maximise(normal).x
    inside, reachable = farthest, above(farthest) >= 0
    met = ~reachable
    for _ in range(_MOST_DOUBLINGS):
        if bool(met.all()):
            break
        found = one.maximise(g + high[:, None] * normal).x
        enough = (above(found) >= 0) & ~met
        inside = torch.where(enough[:, None], found, inside)
        short = ~enough & ~met
        outside = torch.where(short[:, None], found, outside)
        low, high = torch.where(short, high, low), torch.where(short, 2 * high, high)
        met = met | enough
    weights = torch.ones(2, len(g), dtype=g.dtype, device=g.device)
    for step in range(_MOST_STEPS):
        under, over = -above(outside), above(inside)
        share = (under / (under + over).clamp_min(_TINY)).clamp(0, 1)
        x = outside + share[:, None] * (inside - outside)
        # The dual value at the nearer end of the bracket bounds the maximum.
        bound = torch.minimum(
            ((g + low[:, None] * normal) * outside).sum(1) - low * least,
            ((g + high[:, None] * normal) * inside).sum(1) - high * least,
        )
        done = (bound - (g * x).sum(1) <= tolerance * length * one.radius) | ~reachable
        if bool(done.all()):
            break
        # Illinois steps, with bisections between: an end that stays counts half.
        mixed = (weights[0] * under) / (weights[0] * under + weights[1] * over).clamp_min(_TINY)
        middle = low + (mixed if step % 3 != 2 else 0.5) * (high - low)
        found = one.maximise(g + middle[:, None] * normal).x
        enough = above(found) >= 0
        weights = torch.stack([torch.where(enough, weights[0] / 2, 1.0), torch.where(enough, 1.0, weights[1] / 2)])
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
        outside = torch.where(enough[:, None], outside, found)
        inside = torch.where(enough[:, None], found, inside)
    return torch.where(reachable[:, None], x, farthest)
