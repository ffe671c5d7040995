"""Random sphere-and-slab sets, and points inside them."""

import torch
from torch import Tensor

from gradshape.constraints import SphereSlab


def random_set(seed: int, *, boxed: bool = False) -> tuple[SphereSlab, torch.Generator]:
    """A set in 2 to 7 dimensions whose ball, slab and box can each bind, and the generator to go on with."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, dtype=torch.float64, generator=generator)

    d = int(torch.randint(2, 8, (), generator=generator))
    axis = draw(d) - 0.5
    one = SphereSlab(draw(d), float(0.1 + draw(1)), axis / axis.norm(), half_width=float(0.6 * draw(1)), boxed=boxed)
    return one, generator


def points_of(one: SphereSlab, count: int, generator: torch.Generator) -> Tensor:
    """``(m, d)`` points of the set, at least one: of ``count`` points drawn around it, those inside."""
    d = len(one.centroid)
    u = torch.randn(count, d, dtype=torch.float64, generator=generator)
    u *= one.radius * torch.rand(count, 1, dtype=torch.float64, generator=generator) / u.norm(dim=1, keepdim=True)
    along = u @ one.axis
    u += (along.clamp(-one.half_width, one.half_width) - along)[:, None] * one.axis
    points = torch.cat([one.centroid[None], one.centroid + u])
    if one.boxed:
        points = points.clamp(0, 1)
    return points[one.contains(points, tolerance=0) | (torch.arange(len(points)) == 0)]
