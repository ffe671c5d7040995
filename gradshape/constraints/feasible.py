"""Sphere-and-slab sets, in which rows pass an outlier filter: membership, projection, maximisation."""

from dataclasses import KW_ONLY, dataclass, replace

import torch
from torch import Tensor

from gradshape.constraints._boxed_ball import maximise_boxed

# Rows move towards their centroid by this share, so that rounding to float32 does not take them out of the set.
FLOAT32_MARGIN = 1e-6


@dataclass(frozen=True, eq=False)
class Maximum:
    """Maxima of linear functions over one set, ``B`` at a time.

    Attributes:
        x: ``(B, d)`` points of the set.
        value: ``(B,)`` values of the functions there.
        bound: ``(B,)`` upper bounds of the functions on the set: ``value <= max <= bound``.
    """

    x: Tensor
    value: Tensor
    bound: Tensor


@dataclass(frozen=True, eq=False)
class SphereSlab:
    """The points ``x`` with ``|x - centroid| <= radius`` and ``|axis . (x - centroid)| <= half_width``.

    Attributes:
        centroid: ``(d,)`` float64.
        radius: at least 0.
        axis: ``(d,)`` float64 of length 1; or 0 for no slab.
        half_width: at least 0, on the scale of the unit axis.
        boxed: whether points also lie in ``[0, 1]^d``; the centroid must then.

    Steinhardt, Koh and Liang 2017, section 3.1.

    >>> one = SphereSlab(torch.zeros(2).double(), 1.0, torch.tensor([1.0, 0.0]).double(), half_width=0.5)
    >>> one.contains(torch.tensor([[0.4, 0.9], [0.6, 0.0]])).tolist()
    [True, False]
    >>> one.project(torch.tensor([[3.0, 0.0]])).tolist()
    [[0.5, 0.0]]
    >>> one.maximise(torch.tensor([[2.0, 0.0]])).value.tolist()
    [1.0]
    """

    centroid: Tensor
    radius: float
    axis: Tensor
    _: KW_ONLY
    half_width: float
    boxed: bool = False

    def __post_init__(self) -> None:
        if self.centroid.ndim != 1 or self.axis.shape != self.centroid.shape:
            raise ValueError(
                f"centroid, axis of shapes {tuple(self.centroid.shape)}, {tuple(self.axis.shape)}: expected both (d,)"
            )
        for name, value in (("radius", self.radius), ("half_width", self.half_width)):
            if not value >= 0:
                raise ValueError(f"{name}={value!r}: expected a number of at least 0")
        if self.boxed and not bool(((self.centroid >= 0) & (self.centroid <= 1)).all()):
            raise ValueError("boxed=True with a centroid outside [0, 1]: expected a centroid inside the box")

    @classmethod
    def around(cls, rows: Tensor, *, opposite: Tensor, quantile: float, boxed: bool = False) -> "SphereSlab":
        """Make the set whose radius and half-width are quantiles over ``rows``.

        The axis is the *unit* vector from ``opposite`` to the centroid, so that the half-width is a distance (as in
        the authors' Python code; their MATLAB code multiplies by the length of the difference). Quantiles interpolate
        linearly, as ``numpy.percentile`` does.

        Args:
            rows: ``(n, d)``, n at least 1.
            opposite: ``(d,)`` centroid of the other class.
            quantile: of the distances of the rows, in [0, 1].
            boxed: whether points also lie in ``[0, 1]^d``.

        Raises:
            ValueError: there is no row, or the quantile is out of range.
        """
        if not 0 <= quantile <= 1:
            raise ValueError(f"quantile={quantile!r}: expected a number in [0, 1]")
        if len(rows) == 0:
            raise ValueError("rows: expected at least 1 row, got none")
        inside = rows.double()
        centroid = inside.mean(0)
        if boxed:
            # The mean of rows in the box can leave it by rounding.
            centroid = torch.where((centroid - 0.5).abs() <= 0.5 + 1e-9, centroid.clamp(0, 1), centroid)
        difference = centroid - opposite
        axis = difference / difference.norm().clamp_min(torch.finfo(torch.float64).tiny)
        offset = inside - centroid
        radius = float(offset.norm(dim=1).quantile(quantile))
        half_width = float((offset @ axis).abs().quantile(quantile))
        return cls(centroid, radius, axis, half_width=half_width, boxed=boxed)

    def contains(self, x: Tensor, *, tolerance: float = 1e-6) -> Tensor:
        """Return ``(n,)`` bool: which rows of ``x`` ``(n, d)`` are in the set, up to a distance ``tolerance``."""
        rows = x.double()
        offset = rows - self.centroid
        inside: Tensor = offset.norm(dim=1) <= self.radius + tolerance
        inside &= (offset @ self.axis).abs() <= self.half_width + tolerance
        if self.boxed:
            inside &= ((rows >= -tolerance) & (rows <= 1 + tolerance)).all(1)
        return inside

    def project(self, x: Tensor) -> Tensor:
        """Return ``(n, d)`` float64: the nearest point of the set to every row of ``x`` ``(n, d)``."""
        offset = x.double() - self.centroid
        if self.boxed:
            u, _ = maximise_boxed(
                offset,
                centroid=self.centroid,
                radius=self.radius,
                axis=self.axis,
                half_width=self.half_width,
                curvature=1.0,
            )
            return self.centroid + u
        along = offset @ self.axis
        across = offset - along[:, None] * self.axis
        height = across.norm(dim=1)
        # In the plane of the axis and the row, the nearest point is on the slab, on the disc, or at their corner.
        clamped = along.clamp(-self.half_width, self.half_width)
        shrink = self.radius / torch.hypot(along, height).clamp_min(self.radius).clamp_min(_TINY)
        in_disc = torch.hypot(clamped, height) <= self.radius
        in_slab = (along * shrink).abs() <= self.half_width
        new_along = torch.where(in_disc, clamped, torch.where(in_slab, along * shrink, clamped))
        new_height = torch.where(in_disc, height, torch.where(in_slab, shrink * height, self._corner_height()))
        return self.centroid + new_along[:, None] * self.axis + new_height[:, None] * _unit(across, height)

    def maximise(self, directions: Tensor) -> Maximum:
        """Maximise ``g . x`` over the set, for every row ``g`` of ``directions`` ``(B, d)``.

        Exact up to rounding without the box. With it the dual is solved until value and bound differ by less than
        1e-9 of ``|g| radius``, or as close as rounding allows; the bound always holds.
        """
        g = directions.double()
        middle = g @ self.centroid
        if self.boxed:
            u, bound = maximise_boxed(
                g, centroid=self.centroid, radius=self.radius, axis=self.axis, half_width=self.half_width
            )
            return Maximum(self.centroid + u, middle + (g * u).sum(1), middle + bound)
        length = g.norm(dim=1)
        u = self.radius * _unit(g, length)
        along = u @ self.axis
        component = g @ self.axis
        across = g - component[:, None] * self.axis
        # The rest of a direction along the axis is rounding, which need not be orthogonal to the axis.
        across = torch.where((across.norm(dim=1) > 1e-12 * length)[:, None], across, torch.zeros_like(across))
        across = across - (across @ self.axis)[:, None] * self.axis
        edge = self.half_width * component.sign()
        capped = edge[:, None] * self.axis + self._corner_height() * _unit(across, across.norm(dim=1))
        u = torch.where((along.abs() > self.half_width)[:, None], capped, u)
        value = middle + (g * u).sum(1)
        return Maximum(self.centroid + u, value, value)

    def _corner_height(self) -> float:
        return float(max(self.radius**2 - self.half_width**2, 0.0) ** 0.5)


_TINY = torch.finfo(torch.float64).tiny


def _unit(vectors: Tensor, length: Tensor) -> Tensor:
    """Divide vectors by their lengths; those of length 0 stay 0."""
    return vectors / length.clamp_min(_TINY)[:, None]


@dataclass(frozen=True, eq=False)
class FeasibleSets:
    """The sets in which rows of either class must lie.

    Attributes:
        negative, positive: the sets of class 0 and of class 1.
    """

    negative: SphereSlab
    positive: SphereSlab

    @classmethod
    def from_rows(cls, x: Tensor, y: Tensor, *, quantile: float, boxed: bool = False) -> "FeasibleSets":
        """Make the sets whose radii and half-widths are quantiles of the distances of ``x``, class by class.

        Args:
            x: ``(n, d)`` rows.
            y: ``(n,)`` int64, 0 or 1; both must occur.
            quantile: in [0, 1]; 0.7 in the paper.
            boxed: whether rows must also lie in ``[0, 1]^d``.

        Raises:
            ValueError: a class has no row, a label is not 0 or 1, or the quantile is out of range.

        Steinhardt, Koh and Liang 2017, section 3.1; the scale of the axis is as in :meth:`SphereSlab.around`.

        >>> rows = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        >>> sets = FeasibleSets.from_rows(rows, torch.tensor([0, 0, 1, 1]), quantile=1.0)
        >>> positive = sets.for_class(1)
        >>> positive.centroid.tolist(), positive.radius, positive.axis.tolist(), positive.half_width
        ([1.0, 0.5], 0.5, [1.0, 0.0], 0.0)
        """
        if not bool(((y == 0) | (y == 1)).all()):
            raise ValueError(f"labels {y.unique().tolist()}: expected 0 and 1 only")
        groups = [x[y == label].double() for label in (0, 1)]
        for label, rows in enumerate(groups):
            if len(rows) == 0:
                raise ValueError(f"class {label} has no rows: expected both classes")
        centroids = [rows.mean(0) for rows in groups]
        negative, positive = (
            SphereSlab.around(rows, opposite=centroids[1 - label], quantile=quantile, boxed=boxed)
            for label, rows in enumerate(groups)
        )
        return cls(negative, positive)

    def for_class(self, label: int) -> SphereSlab:
        """Return the set of class ``label``, 0 or 1."""
        return self.positive if label else self.negative

    def within_box(self, boxed: bool = True) -> "FeasibleSets":
        """Return the same sets, with or without the box ``[0, 1]^d``."""
        return FeasibleSets(replace(self.negative, boxed=boxed), replace(self.positive, boxed=boxed))

    def contains(self, x: Tensor, y: Tensor, *, tolerance: float = 1e-6) -> Tensor:
        """Return ``(n,)`` bool: which rows of ``x`` ``(n, d)`` are in the set of their class in ``y`` ``(n,)``."""
        positive = self.positive.contains(x, tolerance=tolerance)
        return torch.where(y == 1, positive, self.negative.contains(x, tolerance=tolerance))

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``(n, d)`` float64: for every row the nearest point of the set of its class."""
        rows = x.double().clone()
        for label in (0, 1):
            members = y == label
            rows[members] = self.for_class(label).project(rows[members])
        return rows

    def shrink(self, x: Tensor, y: Tensor, *, share: float) -> Tensor:
        """Move rows deeper inside, by ``share`` of the way to the centroid of their class; ``(n, d)`` float64."""
        centroid = torch.where(y[:, None] == 1, self.positive.centroid, self.negative.centroid)
        return torch.lerp(x.double(), centroid, share)
