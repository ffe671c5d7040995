"""A defence: it leaves out the rows that are nearer to the middle of another class than to that of their own."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gradshape.defenses import ShareFilter, Suspect


@dataclass(frozen=True)
class NearestMean(ShareFilter):
    """Leave out the share of every class that other classes' middles draw most strongly."""

    name = "nearest_mean"

    def scores(self, train: Suspect) -> Tensor:
        x = train.x.flatten(1).double()
        classes = train.y.unique()
        distances = torch.cdist(x, torch.stack([x[train.y == label].median(0).values for label in classes]))
        own = train.y[:, None] == classes
        return distances[own] - distances.masked_fill(own, torch.inf).amin(1)
