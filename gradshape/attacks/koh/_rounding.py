"""Random rounding of rows to whole multiples of a unit, such as counts of words."""

import torch
from torch import Tensor

from gradshape.constraints import SphereSlab

_ROUNDS, _HALVINGS = 64, 40


def round_inside(x: Tensor, count: int, *, inside: SphereSlab, levels: int, generator: torch.Generator) -> Tensor:
    """Draw rows of whole multiples of ``1 / levels`` whose mean is near ``x``, inside a sphere and slab.

    Every value is rounded up or down at random, without bias. That adds its variance to the squared distance from the
    centroid, so the row is first moved towards the centroid until the *expected* squared distance is within the radius.
    Then rows are drawn until enough are inside.

    Args:
        x: ``(d,)`` a row of the set, in [0, 1].
        count: rows to return, at least 1.
        inside: the set.
        levels: number of steps from 0 to 1, at least 1; a single step leaves only the values 0 and 1.
        generator: of the roundings.

    Returns:
        ``(count, d)`` float64. Where 64 drawings of ``count`` rows give too few rows inside, those that are inside are
        repeated; where they give none, the rounded centroid is repeated, which need not be inside.

    Koh, Steinhardt and Liang 2018, section on integrality constraints; theirs bounds the expected squared distance in
    the optimisation itself, by a piecewise linear function.

    >>> ball = SphereSlab(torch.tensor([0.5, 0.5]).double(), 0.8, torch.zeros(2).double(), half_width=0.0)
    >>> rows = round_inside(torch.tensor([0.9, 0.5]).double(), 200, inside=ball, levels=1,
    ...                     generator=torch.Generator().manual_seed(0))
    >>> rows.unique().tolist(), bool((rows.mean(0) - torch.tensor([0.9, 0.5])).abs().max() < 0.1)
    ([0.0, 1.0], True)
    """
    low, high = 0.0, 1.0
    if _expected_square(x, inside, levels) > inside.radius**2:
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            beyond = _expected_square(torch.lerp(x, inside.centroid, middle), inside, levels) > inside.radius**2
            low, high = (middle, high) if beyond else (low, middle)
        x = torch.lerp(x, inside.centroid, high)
    units = (x * levels).clamp(0, levels)
    down = units.floor()
    found = x.new_empty(0, len(x))
    for _ in range(_ROUNDS):
        drawn = torch.rand(count, len(x), dtype=torch.float64, generator=generator).to(x.device)
        rows = (down + (drawn < units - down)) / levels
        found = torch.cat([found, rows[inside.contains(rows)]])
        if len(found) >= count:
            break
    if len(found) == 0:
        found = ((inside.centroid * levels).round() / levels)[None]
    return found[torch.arange(count, device=x.device) % len(found)]


def _expected_square(x: Tensor, inside: SphereSlab, levels: int) -> float:
    """Return the mean squared distance of the roundings of ``x`` from the centroid."""
    rest = (x * levels).frac()
    return float((x - inside.centroid).square().sum() + (rest * (1 - rest)).sum() / levels**2)
