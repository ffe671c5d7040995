"""Four poison points, two per class, placed where they hurt a linear classifier most and drag their filter along."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from gradshape.constraints import FeasibleSets

Array = NDArray[np.float64]

# Four points need no more directions than these, beside the weights and the difference of the centroids.
EXTRA_DIRECTIONS = 4
VIOLATION_ALLOWED = 1e-4
_POINTS = 4
_CLASS = np.array([0, 0, 1, 1])
_SIGN = np.array([-1.0, -1.0, 1.0, 1.0])
_SUPPORT = np.array([0, 2])
_MOST_STEPS = 100
_MOST_PROJECTIONS = 100
_PRECISION = 1e-6
# Shares of the additional copies that are tried.
_PARTS = 4


@dataclass(frozen=True, eq=False)
class DraggedSets:
    """Sphere-and-slab sets whose centroids and axis follow the poison, while radii and half-widths stay fixed.

    With poison masses ``e`` on points ``x``, relative to all clean rows, the centroid of class ``y`` becomes
    ``(p_y mu_y + sum e x) / (p_y + sum e)``, summed over the points of that class, and the axis the unit vector between
    the centroids.

    Attributes:
        clean: the sets of the clean rows.
        shares: ``(p_0, p_1)`` of the classes among the clean rows.

    Steinhardt, Koh and Liang 2017, section 4.2 (data-dependent defenses).
    """

    clean: FeasibleSets
    shares: tuple[float, float]

    @classmethod
    def from_rows(cls, x: Tensor, y: Tensor, *, quantile: float) -> "DraggedSets":
        """Return the sets of rows ``x (n, d)`` with labels ``y (n,)``; see :meth:`FeasibleSets.from_rows`."""
        positive = float((y == 1).double().mean())
        return cls(FeasibleSets.from_rows(x, y, quantile=quantile), (1 - positive, positive))

    @cached_property
    def centroids(self) -> Tensor:
        """``(2, d)`` float64 centroids of the clean rows."""
        return torch.stack([self.clean.negative.centroid, self.clean.positive.centroid])

    def dragged(self, x: Tensor, y: Tensor, masses: Tensor) -> FeasibleSets:
        """Return the sets once points ``x`` ``(m, d)`` of classes ``y`` ``(m,)`` are added with ``masses`` ``(m,)``.

        >>> rows = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        >>> sets = DraggedSets.from_rows(rows, torch.tensor([0, 0, 1, 1]), quantile=1.0)
        >>> new = sets.dragged(torch.tensor([[1.0, 1.5]]), torch.tensor([0]), torch.tensor([0.5]))
        >>> new.for_class(0).centroid.tolist(), new.for_class(0).radius, new.for_class(1).axis.tolist()
        ([0.5, 1.0], 0.5, [0.7071067811865475, -0.7071067811865475])
        """
        rows, weights = x.double(), masses.double()
        total = [
            self.shares[label] * self.centroids[label] + weights[y == label] @ rows[y == label] for label in (0, 1)
        ]
        negative, positive = (total[label] / (self.shares[label] + weights[y == label].sum()) for label in (0, 1))
        axis = positive - negative
        axis = axis / axis.norm().clamp_min(torch.finfo(torch.float64).tiny)
        return FeasibleSets(
            replace(self.clean.negative, centroid=negative, axis=-axis),
            replace(self.clean.positive, centroid=positive, axis=axis),
        )


@dataclass(frozen=True, eq=False)
class PoisonPoints:
    """Poison points and their masses.

    Attributes:
        x: ``(4, d)`` float64: a support and a drag point of class 0, then of class 1; ``(6, d)`` where two centroids
            fill up a larger budget (:func:`grow_points`).
        y: ``(4,)`` int64, the classes 0, 0, 1, 1; of centroids 0, 1.
        masses: ``(4,)`` float64, relative to all clean rows.
        value: hinge loss of the support points, weighted by mass; that of drag points is not counted.
        violation: largest distance of a point from its set, in radii of its class.
    """

    x: Tensor
    y: Tensor
    masses: Tensor
    value: float
    violation: float


def place_points(
    w: Tensor, b: float, sets: DraggedSets, masses: Tensor, *, directions: Tensor, start: Tensor
) -> PoisonPoints:
    """Maximise ``sum_y e_y max(0, 1 - s_y (w . x_y + b))`` over points inside the sets that they drag along themselves.

    Each class has a support point ``x_y`` and a drag point, which only moves the sets. Written as offsets from the
    dragged centroids, every sphere is a ball around 0, centroids are linear in the offsets, and only the slabs are not
    convex. Loss and sets depend only on the products of the offsets with ``w``, with the difference ``D`` of the clean
    centroids and with each other, so that the span of ``w``, ``D`` and any four more directions is enough. That leaves
    24 numbers, which are found by sequential quadratic programming, on the CPU wherever the rows are. The maximum is
    local: a candidate, not a certificate.

    Args:
        w: ``(d,)`` float64 weights.
        b: bias.
        sets: of the clean rows.
        masses: ``(4,)`` poison of class 0 (support, drag), then of class 1, relative to all clean rows; at least 0.
        directions: ``(4, d)`` vectors that are added to the span.
        start: ``(4, 6)`` offsets to start from, in radii, in coordinates of the span. They are best drawn at random, as
            0 is a saddle where the four directions stay unused. Columns beyond the number of features are not read.

    Returns:
        Points that violate their sets by at most 1e-4 radii. Where the program ends at points that violate them more,
        all points are at the clean centroids.

    Raises:
        ValueError: masses are negative or not finite.

    Steinhardt, Koh and Liang 2017, section 4.2, where a semidefinite relaxation of the same problem is solved.

    >>> rows = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> sets = DraggedSets.from_rows(rows, torch.tensor([0, 0, 1, 1]), quantile=1.0)
    >>> w, masses = torch.tensor([0.0, 1.0]).double(), torch.tensor([0.1, 0.0, 0.1, 0.0])
    >>> start = torch.full((4, 6), 0.1, dtype=torch.float64)
    >>> points = place_points(w, 0.0, sets, masses, directions=torch.eye(4, 2), start=start)
    >>> bool(points.x[0, 1] > 1.0), bool(points.x[2, 1] < 0.0)  # beyond the rows of their class
    (True, True)
    """
    if masses.shape != (_POINTS,) or not bool(((masses >= 0) & masses.isfinite()).all()):
        raise ValueError(f"masses={masses.tolist()!r}: expected {_POINTS} finite numbers of at least 0")
    difference = sets.centroids[1] - sets.centroids[0]
    basis = torch.linalg.qr(torch.stack([difference, w, *directions.double()], dim=1))[0]
    program = _Program(
        weights=_array(w @ basis),
        difference=_array(difference @ basis),
        scores=_array(sets.centroids @ w + b)[_CLASS],
        pull=_array(masses) / np.array(sets.shares)[_CLASS],
        masses=_array(masses),
        radii=np.array([sets.clean.for_class(label).radius for label in _CLASS]),
        half_widths=np.array([sets.clean.for_class(label).half_width for label in _CLASS]),
    )
    offsets = program.solve(_array(start)[:, : basis.shape[1]])
    violation = program.violation(offsets)
    if not violation <= VIOLATION_ALLOWED:
        offsets, violation = np.zeros_like(offsets), 0.0
    labels = torch.tensor(_CLASS, device=w.device)
    x = sets.centroids[labels] + torch.from_numpy(program.moves @ offsets).to(basis) @ basis.T
    return PoisonPoints(x, labels, masses.to(w), program.value(offsets), violation)


def _array(numbers: Tensor) -> Array:
    return numbers.double().cpu().numpy()


def pull_into_box(points: PoisonPoints, w: Tensor, b: float, sets: DraggedSets) -> PoisonPoints:
    """Move points near by into ``[0, 1]^d``, so that they stay in the sets that they drag along.

    The points are clipped and then projected onto the sets inside the box, which move with them, until they stay. The
    clean rows must be in the box. Value and violation are those of the new points, which need not be a local maximum.

    Returns:
        Points that violate their sets by at most 1e-4 radii; where 100 projections do not get there, the clean
        centroids, for which there is always room.

    >>> rows = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> sets = DraggedSets.from_rows(rows, torch.tensor([0, 0, 1, 1]), quantile=1.0)
    >>> w, masses = torch.tensor([0.0, 1.0]).double(), torch.tensor([0.1, 0.0, 0.1, 0.0])
    >>> start = torch.full((4, 6), 0.1, dtype=torch.float64)
    >>> points = place_points(w, 0.0, sets, masses, directions=torch.eye(4, 2), start=start)
    >>> boxed = pull_into_box(points, w, 0.0, sets)
    >>> bool(boxed.x.max() <= 1), boxed.violation <= 1e-4
    (True, True)
    """
    used = points.masses > 0
    x = torch.where(used[:, None], points.x.clamp(0, 1), sets.centroids[points.y].clamp(0, 1))
    for _ in range(_MOST_PROJECTIONS):
        dragged = sets.dragged(x, points.y, points.masses)
        violation = _violation(x, points.y, dragged)
        if violation <= VIOLATION_ALLOWED / 2:
            break
        x = dragged.within_box().project(x, points.y).clamp(0, 1)
    else:
        x, violation = sets.centroids[points.y].clamp(0, 1), 0.0
    losses = (1 - (2 * points.y - 1) * (x @ w + b)).clamp_min(0)
    return PoisonPoints(x, points.y, points.masses, float((points.masses * losses)[_SUPPORT].sum()), violation)


def grow_points(points: PoisonPoints, count: int, sets: DraggedSets, *, rows: int) -> PoisonPoints:
    """Multiply the copies of ``points`` to ``count`` rows.

    Where a learner minimises the clean loss plus that of the poison over a fixed set of parameters, multiplying the
    poison never lowers the clean loss at the minimum: with ``A`` and ``B`` the two losses, the minima of ``A + k B``
    have a larger ``A`` the larger ``k`` is. More copies drag the sets further, though. Where that would leave a point
    outside, fewer copies are added, and the other rows are the centroids of the dragged sets, which move no set and
    cost a learner little.

    Args:
        points: the poison of a smaller budget, in whole rows.
        count: rows of the new one, more than it has.
        sets: of the clean rows.
        rows: number of clean rows.

    Returns:
        The same points, followed by the two centroids where these are needed. ``value`` grows with the copies.

    >>> clean = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> sets = DraggedSets.from_rows(clean, torch.tensor([0, 0, 1, 1]), quantile=1.0)
    >>> masses = torch.tensor([0.25, 0.0, 0.25, 0.0]).double()
    >>> one = PoisonPoints(clean.double(), torch.tensor([0, 0, 1, 1]), masses, 0.1, 0.0)
    >>> grow_points(one, 4, sets, rows=4).masses.tolist()
    [0.5, 0.0, 0.5, 0.0]
    """
    before = (points.masses * rows).round().long()
    least = int(before.sum())
    for part in range(_PARTS, -1, -1):
        kept = least + (count - least) * part // _PARTS
        copies = before * kept // least
        copies[int(before.argmax())] += kept - int(copies.sum())
        grown = replace(points, masses=copies.to(points.masses) / rows, value=points.value * kept / least)
        used = copies > 0
        dragged = sets.dragged(grown.x, grown.y, grown.masses)
        violation = _violation(grown.x[used], grown.y[used], dragged)
        if violation <= max(VIOLATION_ALLOWED, points.violation) or part == 0:
            break
    if kept == count:
        return replace(grown, violation=violation)
    positive = round((count - kept) * sets.shares[1])
    fill = grown.masses.new_tensor([count - kept - positive, positive]) / rows
    centroids = torch.stack([dragged.for_class(label).centroid for label in (0, 1)])
    return PoisonPoints(
        torch.cat([grown.x, centroids]),
        torch.cat([grown.y, torch.arange(2, device=grown.y.device)]),
        torch.cat([grown.masses, fill]),
        grown.value,
        violation,
    )


def _violation(x: Tensor, y: Tensor, dragged: FeasibleSets) -> float:
    """Return the largest distance of a point from its set, in radii of its class."""
    worst = 0.0
    for point, label in zip(x, y.tolist(), strict=True):
        own = dragged.for_class(label)
        offset = point - own.centroid
        excess = max(float(offset.norm()) - own.radius, abs(float(offset @ own.axis)) - own.half_width)
        worst = max(worst, excess / max(own.radius, torch.finfo(torch.float64).tiny))
    return worst


@dataclass(frozen=True, eq=False)
class _Program:
    """The program in ``k`` coordinates; arrays run over the four points, offsets are ``(4, k)``.

    Attributes:
        weights, difference: ``(k,)``.
        scores: of the clean centroids.
        pull: masses by the share of their class: a centroid moves by ``sum pull offset``.
        masses, radii, half_widths: ``(4,)``.
    """

    weights: Array
    difference: Array
    scores: Array
    pull: Array
    masses: Array
    radii: Array
    half_widths: Array

    @cached_property
    def moves(self) -> Array:
        """``(4, 4)`` from offsets to the points less their clean centroids."""
        same: Array = (_CLASS[:, None] == _CLASS).astype(np.float64)
        moves: Array = np.eye(_POINTS) + same * self.pull
        return moves

    @cached_property
    def turn(self) -> Array:
        """``(4,)`` weights of the offsets in the difference of the dragged centroids."""
        turn: Array = _SIGN * self.pull
        return turn

    @cached_property
    def slopes(self) -> Array:
        """``(4, 4, k)`` derivatives of the points' losses by the offsets."""
        slopes: Array = -_SIGN[:, None, None] * self.moves[:, :, None] * self.weights
        return slopes

    def losses(self, offsets: Array) -> Array:
        losses: Array = 1 - _SIGN * (self.moves @ offsets @ self.weights + self.scores)
        return losses

    def value(self, offsets: Array) -> float:
        return float((self.masses * self.losses(offsets).clip(0))[_SUPPORT].sum())

    def violation(self, offsets: Array) -> float:
        dragged = self.difference + self.turn @ offsets
        along = np.abs(offsets @ dragged) / max(float(np.linalg.norm(dragged)), np.finfo(np.float64).tiny)
        excess = np.maximum(np.linalg.norm(offsets, axis=1) - self.radii, along - self.half_widths)
        return float((excess / self.radii.clip(np.finfo(np.float64).tiny)).max().clip(0))

    def solve(self, start: Array) -> Array:
        """Return offsets that are a local maximum; ``start`` is in radii."""
        shape = start.shape
        # Everything in radii, values of order 1.
        unit = self.radii[:, None]
        gain = np.einsum("s,sjk->jk", self.masses[_SUPPORT], self.slopes[_SUPPORT]) * unit
        gain = gain / max(float(np.linalg.norm(gain)), np.finfo(np.float64).tiny)
        slopes = (self.slopes * unit)[_SUPPORT]
        steepness = max(float(np.abs(slopes).max()), np.finfo(np.float64).tiny)
        width = np.square(self.half_widths)
        scale = np.square(self.radii).clip(np.finfo(np.float64).tiny) * max(
            float(self.difference @ self.difference), np.finfo(np.float64).tiny
        )

        def room(flat: Array) -> Array:
            offsets = flat.reshape(shape) * unit
            dragged = self.difference + self.turn @ offsets
            ball = 1 - np.square(flat.reshape(shape)).sum(1)
            slab = (width * (dragged @ dragged) - np.square(offsets @ dragged)) / scale
            return np.concatenate([ball, slab, self.losses(offsets)[_SUPPORT] / steepness])

        def room_slopes(flat: Array) -> Array:
            offsets = flat.reshape(shape) * unit
            dragged = self.difference + self.turn @ offsets
            along = offsets @ dragged
            ball = np.zeros((_POINTS, *shape))
            slab = self.turn[:, None] * 2 * (width[:, None] * dragged - along[:, None] * offsets)[:, None]
            each = np.arange(_POINTS)
            ball[each, each] = -2 * flat.reshape(shape)
            slab[each, each] -= 2 * along[:, None] * dragged
            slab = slab * unit / scale[:, None, None]
            return np.concatenate([ball, slab, slopes / steepness]).reshape(-1, flat.size)

        def loss(flat: Array) -> float:
            return -float(gain.ravel() @ flat)

        def loss_slopes(flat: Array) -> Array:
            descent: Array = -gain.ravel()
            return descent

        # The stubs know constraints of one number only.
        constraints: Any = {"type": "ineq", "fun": room, "jac": room_slopes}
        found = minimize(
            loss,
            start.ravel(),
            jac=loss_slopes,
            constraints=constraints,
            method="SLSQP",
            options={"maxiter": _MOST_STEPS, "ftol": _PRECISION},
        )
        offsets: Array = np.nan_to_num(found.x.reshape(shape)) * unit
        return offsets
