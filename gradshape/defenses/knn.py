"""The nearest-neighbour defence: leave out the rows that are farthest from the rows around them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.defenses.base import Suspect
from gradshape.defenses.removal import ShareFilter


@dataclass(frozen=True)
class NearestNeighborFilter(ShareFilter):
    """Leave out the rows that are farthest from the other rows around them.

    A row's score is the sum of its distances to its nearest neighbours among *all* other rows, whatever their class,
    as in the paper: it finds rows in empty places, and does not see wrong labels. The rows with the highest scores of
    every class are left out. The authors' code counts the row itself as the first neighbour; here it does not count.

    Args:
        removed: share of each class to leave out, above 0 and below 1; 0.05 in the paper.
        neighbors: number of neighbours that count, at least 1; all of them if there are fewer.

    Raises:
        ValueError: a number is out of range.

    Koh, Steinhardt and Liang 2018, section 3; Frederickson et al. 2018.

    >>> from gradshape import data
    >>> train = data.load("two_moons").train
    >>> mask = NearestNeighborFilter(0.05).filter(train, generator=torch.Generator().manual_seed(0))
    >>> int((~mask).sum()), len(mask)
    (35, 700)
    """

    neighbors: int = 5

    name: ClassVar[str] = "knn"
    letters: ClassVar[Mapping[str, str]] = {"neighbors": "k"}

    def __post_init__(self) -> None:
        super().__post_init__()
        _validate.positive_int(neighbors=self.neighbors)

    def scores(self, train: Suspect) -> Tensor:
        return distances_to_neighbors(train.x, neighbors=self.neighbors)


def distances_to_neighbors(x: Tensor, *, neighbors: int) -> Tensor:
    """Return ``(N,)`` float64 sums of the distances of each row to its ``neighbors`` nearest other rows.

    Every pair is measured, in float64, some rows at a time: the time grows with ``N^2 d``, the memory with ``N d``.

    Args:
        x: ``(N, *shape)``. With fewer than ``neighbors`` other rows all count; a row on its own scores 0.
        neighbors: at least 1.

    Raises:
        ValueError: ``neighbors`` is out of range.

    >>> distances_to_neighbors(torch.tensor([[0.0], [0.25], [1.0]]), neighbors=2).tolist()
    [1.25, 1.0, 1.75]
    """
    _validate.positive_int(neighbors=neighbors)
    rows = x.flatten(1).double()
    nearest = min(neighbors, len(rows) - 1)
    size = max(1, _CHUNK_ELEMENTS // max(len(rows), 1))
    sums = []
    for first in range(0, len(rows), size):
        part = rows[first : first + size]
        distance = torch.cdist(part, rows)
        place = torch.arange(len(part))
        distance[place, first + place] = torch.inf
        sums.append(distance.topk(nearest, dim=1, largest=False).values.sum(1))
    return torch.cat([*sums, rows.new_empty(0)])


# Number of distances that are held at a time.
_CHUNK_ELEMENTS = 4_000_000
