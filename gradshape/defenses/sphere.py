"""The L2 defence: leave out the rows that are farthest from the centroid of their class."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gradshape.defenses._centroids import distances_to_centroids
from gradshape.defenses.base import Suspect
from gradshape.defenses.removal import ShareFilter


@dataclass(frozen=True)
class SphereFilter(ShareFilter):
    """Leave out the rows that are farthest from the centroid of their class, whose mean counts poison, too.

    Args:
        removed: share of each class to leave out, above 0 and below 1; 0.05 in the paper.

    Raises:
        ValueError: the share is out of range.

    Koh, Steinhardt and Liang 2018, section 3.

    >>> import torch
    >>> from gradshape import data
    >>> train = data.load("two_moons").train
    >>> mask = SphereFilter(0.05).filter(train, generator=torch.Generator().manual_seed(0))
    >>> int((~mask).sum()), len(mask)
    (35, 700)
    """

    name: ClassVar[str] = "sphere"

    def scores(self, train: Suspect) -> Tensor:
        return distances_to_centroids(train)
