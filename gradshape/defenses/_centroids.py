"""Distances of rows from the centroid of their class, in any direction or towards another class."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gradshape.data import Split


@dataclass(frozen=True, eq=False)
class Centroids:
    """The means of the classes that occur among some rows.

    Attributes:
        classes: ``(C,)`` int64, ascending.
        means: ``(C, d)`` float64, in that order.
    """

    classes: Tensor
    means: Tensor

    @classmethod
    def from_rows(cls, rows: Split) -> "Centroids":
        """Return the centroids of the classes of ``rows``; at least one row.

        >>> rows = Split(torch.tensor([[0.0], [0.5], [1.0]]), torch.tensor([0, 0, 2]))
        >>> Centroids.from_rows(rows).classes.tolist(), Centroids.from_rows(rows).means.tolist()
        ([0, 2], [[0.25], [1.0]])
        """
        classes = rows.y.unique()
        x = rows.x.flatten(1).double()
        return cls(classes, torch.stack([x[rows.y == label].mean(0) for label in classes]))

    def own(self, y: Tensor) -> Tensor:
        """Return the ``(N,)`` index into ``classes`` of each label of ``y``; -1 for labels that do not occur."""
        place = torch.searchsorted(self.classes, y).clamp_max(len(self.classes) - 1)
        return torch.where(self.classes[place] == y, place, torch.full_like(place, -1))

    def nearest_other(self, rows: Split) -> Tensor:
        """Return the ``(N,)`` index into ``classes`` of the other class whose centroid is nearest to each row.

        If there is one class only, it is that class.
        """
        distance = torch.cdist(rows.x.flatten(1).double(), self.means)
        own = self.own(rows.y)
        if len(self.classes) > 1:
            known = (own >= 0).nonzero().squeeze(1)
            distance[known, own[known]] = torch.inf
        return distance.argmin(1)


def distances_to_centroids(rows: Split) -> Tensor:
    """Return ``(N,)`` float64 ``|x - mu_y|``: the distance of each row from the centroid of its class.

    Koh, Steinhardt and Liang 2018, section 3: the L2 defence.

    >>> distances_to_centroids(Split(torch.tensor([[0.0], [0.5], [1.0]]), torch.tensor([0, 0, 1]))).tolist()
    [0.25, 0.25, 0.0]
    """
    centroids = Centroids.from_rows(rows)
    distances: Tensor = (rows.x.flatten(1).double() - centroids.means[centroids.own(rows.y)]).norm(dim=1)
    return distances


def distances_between_centroids(rows: Split) -> Tensor:
    """Return ``(N,)`` float64 ``|v . (x - mu_y)|``: distances of rows from the centroids of their classes along ``v``.

    ``v`` is the *unit* vector from there to the centroid of another class, the one that is nearest to the row. The
    distance is 0 if there is no other class, or if the two centroids are the same.

    Koh, Steinhardt and Liang 2018, section 3: the slab defence; they have two classes, and do not divide by the
    distance of the centroids, which changes no order then.

    >>> x = torch.tensor([[0.0, 0.0], [0.5, 1.0], [1.0, 0.5]])
    >>> distances_between_centroids(Split(x, torch.tensor([0, 0, 1]))).tolist()
    [0.25, 0.25, 0.0]
    """
    centroids = Centroids.from_rows(rows)
    means = centroids.means[centroids.own(rows.y)]
    axis = centroids.means[centroids.nearest_other(rows)] - means
    axis /= axis.norm(dim=1, keepdim=True).clamp_min(torch.finfo(axis.dtype).tiny)
    along: Tensor = ((rows.x.flatten(1).double() - means) * axis).sum(1).abs()
    return along
