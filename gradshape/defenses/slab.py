"""The slab defence: leave out the rows that are farthest from their class towards another one."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gradshape.defenses._centroids import distances_between_centroids
from gradshape.defenses.base import Suspect
from gradshape.defenses.removal import ShareFilter


@dataclass(frozen=True)
class SlabFilter(ShareFilter):
    """Leave out the rows that are farthest from the centroid of their class on the line to another class's.

    Centroids count poison, too. With more than two classes the line is the one to the centroid that is nearest to the
    row, besides that of its own class.

    Args:
        removed: share of each class to leave out, above 0 and below 1; 0.05 in the paper.

    Raises:
        ValueError: the share is out of range.

    Koh, Steinhardt and Liang 2018, section 3; after Steinhardt, Koh and Liang 2017.

    >>> import torch
    >>> from gradshape import data
    >>> train = data.load("two_moons").train
    >>> mask = SlabFilter(0.05).filter(train, generator=torch.Generator().manual_seed(0))
    >>> int((~mask).sum()), len(mask)
    (35, 700)
    """

    name: ClassVar[str] = "slab"

    def scores(self, train: Suspect) -> Tensor:
        return distances_between_centroids(train)
