"""Feature collision: rows that stay near their bases while their features move to those of another row."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# Share of its own length by which a row moves in its first step; later steps have rates that follow from the last one.
_FIRST_MOVE = 0.01
# By how much a rate may differ from the one before.
_RATE_CHANGE = 10.0
# Rows that are done leave the batch once this share of it is done, which is checked every so many steps.
_LEAVING, _EVERY = 0.1, 5


@dataclass(frozen=True, eq=False)
class Collided:
    """Rows after feature collision.

    Attributes:
        x: ``(n, *shape)`` in [0, 1].
        distance: ``(n,)`` Euclidean distance of their features from the goal's.
        steps: taken until all rows were done, at most the bound.
    """

    x: Tensor
    distance: Tensor
    steps: int


def collide(
    features: Callable[[Tensor], Tensor],
    base: Tensor,
    goal: Tensor,
    *,
    beta: float = 0.0,
    half_width: float = math.inf,
    start: Tensor | None = None,
    steps: int,
    tolerance: float,
    report: Callable[[int, Tensor], None] | None = None,
) -> Collided:
    """Minimise ``|features(p) - goal|^2 + beta/2 |p - base|^2`` over the box [0, 1] by forward-backward splitting.

    Every row has a rate of its own. A forward step goes against the gradient of the first term; the backward step
    ``(p + rate * beta * base) / (1 + rate * beta)``, clipped, is exact for the second term and the box. A step that
    would raise a row's objective is discarded and its rate halved, so that no row's objective ever rises; after a step
    that is taken, the rate is the inverse curvature that the step met (Barzilai and Borwein 1988), within a factor of
    10. A row is done when a step would change it, relative to its length, by at most ``tolerance``; it is then frozen
    and leaves the batch. No row depends on another, but for rounding.

    Args:
        features: ``(m, *shape)`` to ``(m, f)``, row by row, differentiable in its argument.
        base: ``(n, *shape)`` floating, in [0, 1].
        goal: ``(n, f)`` or ``(1, f)``.
        beta: weight of the second term, at least 0.
        half_width: rows stay so near their bases in every value; infinity for no such bound.
        start: ``(n, *shape)`` in [0, 1], the bases if omitted; it is clipped to ``half_width``.
        steps: at most, discarded ones included.
        tolerance: at least 0.
        report: called after every step with the steps done and the objectives ``(n,)`` so far.

    Shafahi et al. 2018, algorithm 1.

    >>> collided = collide(lambda x: x[:, :1], torch.tensor([[0.2, 0.7]]), torch.tensor([[0.6]]), beta=2.0, steps=100,
    ...                    tolerance=1e-6)
    >>> collided.x.mul(100).round().div(100).tolist()
    [[0.4000000059604645, 0.699999988079071]]
    """
    low, high = (base - half_width).clamp_min(0), (base + half_width).clamp_max(1)
    x = torch.maximum(torch.minimum(base if start is None else start, high), low)
    goal = goal.expand(len(base), goal.shape[1])
    problem = _Collisions(features, base, goal, beta, low, high)
    value, slope = problem.at(x)
    # A row of zeros counts as long as a row of this value throughout.
    least = 1e-3 * math.sqrt(math.prod(base.shape[1:]))
    rate = _FIRST_MOVE * _norms(x).clamp_min(least) / _norms(slope).clamp_min(1e-30)
    done = torch.zeros_like(value, dtype=torch.bool)
    finished, values = x.clone(), value.clone()
    rows = torch.arange(len(x), device=x.device)
    step = 0
    for step in range(1, steps + 1):
        trial = problem.step(x, slope, rate)
        reached, bent = problem.at(trial)
        moved = trial - x
        change = _norms(moved)
        better = (reached <= value) & ~done
        done = done | (change <= tolerance * _norms(x).clamp_min(least))
        met = (moved * (bent - slope)).flatten(1).sum(1)
        follows = torch.where(met > 0, change.square() / met, _RATE_CHANGE * rate)
        follows = torch.minimum(torch.maximum(follows, rate / _RATE_CHANGE), _RATE_CHANGE * rate)
        rate = torch.where(better, follows, rate / 2)
        value = torch.where(better, reached, value)
        each = better.view(-1, *[1] * (x.ndim - 1))
        x, slope = torch.where(each, trial, x), torch.where(each, bent, slope)
        if report is not None:
            values[rows] = value
            report(step, values)
        if step % _EVERY and step < steps:
            continue
        if float(done.float().mean()) >= _LEAVING:
            finished[rows] = x
            stay = (~done).nonzero().squeeze(1)
            if not len(stay):
                break
            rows, x, slope, value, rate, done = (part[stay] for part in (rows, x, slope, value, rate, done))
            problem = problem.take(stay)
    finished[rows] = x
    with torch.no_grad():
        distance = (features(finished) - goal).norm(dim=1)
    return Collided(finished, distance, step)


@dataclass(frozen=True, eq=False)
class _Collisions:
    """The minimisation problems of some rows."""

    features: Callable[[Tensor], Tensor]
    base: Tensor
    goal: Tensor
    beta: float
    low: Tensor
    high: Tensor

    def take(self, rows: Tensor) -> "_Collisions":
        """Return the problems of the rows at these places."""
        base, goal = self.base[rows], self.goal[rows]
        return _Collisions(self.features, base, goal, self.beta, self.low[rows], self.high[rows])

    def at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the objectives ``(n,)``, and the gradient of their first term."""
        x = x.detach().requires_grad_()
        squared = (self.features(x) - self.goal).square().sum(1)
        (slope,) = torch.autograd.grad(squared.sum(), x)
        value = squared.detach()
        if self.beta:
            value = value + self.beta / 2 * (x.detach() - self.base).flatten(1).square().sum(1)
        return value, slope

    def step(self, x: Tensor, slope: Tensor, rate: Tensor) -> Tensor:
        """Take a forward and a backward step."""
        rate = rate.view(-1, *[1] * (x.ndim - 1))
        ahead = x - rate * slope
        if self.beta:
            ahead = (ahead + rate * self.beta * self.base) / (1 + rate * self.beta)
        return torch.maximum(torch.minimum(ahead, self.high), self.low)


def _norms(x: Tensor) -> Tensor:
    norms: Tensor = x.flatten(1).norm(dim=1)
    return norms
