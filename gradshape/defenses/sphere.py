"""The L2 defence: leave out the rows that are farthest from the centroid of their class."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gradshape.data import Dataset
from gradshape.defenses.base import Assumptions, Defense, DefenseKind, Suspect
from gradshape.defenses.centroids import distances_to_centroids
from gradshape.defenses.removal import check_removed, keep_lowest, no_classes, removal_label
from gradshape.training import AnyRecipe


@dataclass(frozen=True)
class SphereFilter(Defense):
    """Leave out the rows that are farthest from the centroid of their class, whose mean counts poison, too.

    Args:
        removed: share of each class to leave out, above 0 and below 1; 0.05 in the paper.

    Raises:
        ValueError: the share is out of range.

    Koh, Steinhardt and Liang 2018, section 3.

    >>> from gradshape import data
    >>> train = data.load("two_moons").train
    >>> mask = SphereFilter(0.05).filter(train, generator=torch.Generator().manual_seed(0))
    >>> int((~mask).sum()), len(mask)
    (35, 700)
    """

    removed: float = 0.05

    assumptions: ClassVar[Assumptions] = Assumptions(
        kind=DefenseKind.OUTLIER_REMOVAL,
        indiscriminate=True,
        targeted=False,
        knows_training_data=True,
        knows_model=False,
        knows_targets=False,
        overhead=True,
        source="Koh, Steinhardt and Liang 2018, Stronger data poisoning attacks break data sanitization defenses",
    )

    def __post_init__(self) -> None:
        check_removed(self.removed)

    def label(self, recipe: AnyRecipe) -> str:
        return removal_label("sphere", self.removed)

    def unsuitable(self, dataset: Dataset, recipe: AnyRecipe) -> str | None:
        return no_classes(dataset)

    def keep(self, train: Suspect, *, generator: torch.Generator) -> Tensor:
        return keep_lowest(distances_to_centroids(train), train.y, removed=self.removed)
