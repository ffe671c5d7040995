"""Maximisation over the intersection of a ball, a slab and the unit box, many problems at once, by duality."""

from dataclasses import dataclass

import torch
from torch import Tensor

_MOST_DOUBLINGS, _MOST_STEPS = 60, 200


def maximise_boxed(
    g: Tensor,
    *,
    centroid: Tensor,
    radius: float,
    axis: Tensor,
    half_width: float,
    curvature: float = 0.0,
    tolerance: float = 1e-9,
) -> tuple[Tensor, Tensor]:
    """Maximise ``g . u - curvature/2 |u|^2`` in ``|u| <= radius``, ``|axis . u| <= half_width``, ``c + u`` in the box.

    Curvature 0 is a linear function; curvature 1 with ``g = p - c`` is the projection of ``p``. With multipliers
    ``L >= 0`` of the ball and ``nu`` of the slab the maximiser is ``(g - nu axis) / (curvature + L)``, clipped to the
    box ``[0, 1]^d``. For a fixed ``nu`` the smallest ``L`` that keeps it in the ball is exact, by sorting where
    coordinates reach the box; ``nu`` is a root of a monotone function, which is bracketed.

    Args:
        g: ``(B, d)`` float64, one problem a row.
        centroid: ``(d,)`` the ``c`` above, inside ``[0, 1]^d``.
        radius, half_width: at least 0.
        axis: ``(d,)`` of length 1, or 0.
        curvature: at least 0.
        tolerance: stop where maximum and bound differ by at most this times ``|g| radius``.

    Returns:
        ``(B, d)`` points of the set, and ``(B,)`` dual values: upper bounds of the maxima, however exact the points.
    """
    problem = _BoxedBall(centroid, radius, axis, half_width, curvature)
    free = _solve(problem, g, torch.zeros(len(g), dtype=g.dtype, device=g.device))
    u, bound = free.u, free.bound
    bent = (free.along.abs() > half_width).nonzero().squeeze(1)
    if len(bent):
        side = free.along[bent].sign()
        u[bent], bound[bent] = _on_the_slab(problem, g[bent], side, free.take(bent), tolerance)
    return u, bound


@dataclass(frozen=True, eq=False)
class _BoxedBall:
    centroid: Tensor
    radius: float
    axis: Tensor
    half_width: float
    curvature: float


@dataclass(frozen=True, eq=False)
class _Maximisers:
    """Maximisers for given ``nu``, their components along the axis, and the dual values."""

    nu: Tensor
    u: Tensor
    along: Tensor
    bound: Tensor

    def take(self, rows: Tensor) -> "_Maximisers":
        return _Maximisers(self.nu[rows], self.u[rows], self.along[rows], self.bound[rows])

    def where(self, other: "_Maximisers", choose: Tensor) -> "_Maximisers":
        """Take ``other`` where ``choose``, else this."""
        return _Maximisers(
            torch.where(choose, other.nu, self.nu),
            torch.where(choose[:, None], other.u, self.u),
            torch.where(choose, other.along, self.along),
            torch.where(choose, other.bound, self.bound),
        )


def _solve(problem: _BoxedBall, g: Tensor, nu: Tensor) -> _Maximisers:
    h = g - nu[:, None] * problem.axis
    size = h.abs()
    limit = torch.where(h > 0, 1 - problem.centroid, problem.centroid)
    reach = _reach(size, limit, problem.radius)
    if problem.curvature:
        reach = reach.clamp_max(1 / problem.curvature)
    # Where the ball does not bind, every coordinate with a slope is at the border of the box.
    length = torch.where(size > 0, torch.minimum(reach[:, None] * size, limit), torch.zeros_like(size))
    u = length * h.sign()
    multiplier = torch.where(reach > 0, 1 / reach - problem.curvature, 0.0).clamp_min(0)
    squared = (length * length).sum(1)
    bound = (size * length).sum(1) - (problem.curvature + multiplier) / 2 * squared
    bound += multiplier / 2 * problem.radius**2 + nu.abs() * problem.half_width
    return _Maximisers(nu, u, u @ problem.axis, bound)


def _reach(size: Tensor, limit: Tensor, radius: float) -> Tensor:
    """Find the largest ``t``, ``(B,)``, with ``|min(t size, limit)| <= radius``; infinity if there is no largest."""
    stop, order = (limit / size).sort(dim=1)
    at_limit = torch.where(size > 0, limit * limit, torch.zeros_like(size)).gather(1, order)
    slope = (size * size).gather(1, order)
    # When t passes the k-th stop, coordinates up to k are at their limit and the others still grow.
    stopped = at_limit.cumsum(1)
    growing = slope.flip(1).cumsum(1).flip(1)
    at_stop = (stopped - at_limit) + growing * stop * stop
    beyond = torch.where(stop.isfinite(), at_stop, torch.inf) > radius**2
    first = beyond.to(torch.uint8).argmax(1, keepdim=True)
    rest = radius**2 - (stopped - at_limit).gather(1, first)
    reach = (rest.clamp_min(0) / growing.gather(1, first).clamp_min(torch.finfo(size.dtype).tiny)).sqrt()
    total = at_limit.sum(1)
    return torch.where((total > radius**2) & beyond.any(1), reach.squeeze(1), torch.inf)


def _on_the_slab(
    problem: _BoxedBall, g: Tensor, side: Tensor, outside: _Maximisers, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Return solutions with ``side * along = half_width``; ``outside`` has ``nu = 0`` and lies beyond the slab."""
    scale = g.norm(dim=1) * problem.radius
    step = (g @ problem.axis).abs().clamp_min(1e-12)
    inside = _solve(problem, g, side * step)
    for _ in range(_MOST_DOUBLINGS):
        short = side * inside.along > problem.half_width
        if not short.any():
            break
        outside = outside.where(inside, short)
        step = torch.where(short, 2 * step, step)
        inside = inside.where(_solve(problem, g, side * step), short)
    bound = torch.minimum(outside.bound, inside.bound)
    weights = torch.ones(2, len(g), dtype=g.dtype, device=g.device)
    u = inside.u
    for count in range(_MOST_STEPS):
        over = side * outside.along - problem.half_width
        under = problem.half_width - side * inside.along
        # Both ends are in the ball and the box, and so is what lies between; there it meets the slab.
        share = (under / (over + under).clamp_min(torch.finfo(g.dtype).tiny)).clamp(0, 1)
        u = inside.u + share[:, None] * (outside.u - inside.u)
        value = (g * u).sum(1) - problem.curvature / 2 * (u * u).sum(1)
        if bool((bound - value <= tolerance * scale).all()):
            break
        if count % 3 == 2:
            mixed = torch.full_like(share, 0.5)
        else:
            mixed = (weights[1] * under) / (weights[0] * over + weights[1] * under).clamp_min(torch.finfo(g.dtype).tiny)
        nu = inside.nu + mixed * (outside.nu - inside.nu)
        if bool(((nu == inside.nu) | (nu == outside.nu)).all()):
            break
        middle = _solve(problem, g, nu)
        bound = torch.minimum(bound, middle.bound)
        beyond = side * middle.along > problem.half_width
        # Illinois rule: an end that stays counts half, or else it would stay for good.
        weights = torch.stack([torch.where(beyond, 1.0, weights[0] / 2), torch.where(beyond, weights[1] / 2, 1.0)])
        outside = outside.where(middle, beyond)
        inside = inside.where(middle, ~beyond)
    return u, bound
