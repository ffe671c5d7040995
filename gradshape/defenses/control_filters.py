"""Controls: a filter that knows the poison bounds what a defence can gain, a random one tells what chance explains."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from gradshape.defenses.base import CONTROL, Assumptions, Defense, Suspect
from gradshape.training import AnyRecipe


@dataclass(frozen=True)
class PerfectFilter(Defense):
    """Leave out the poison and nothing else: no filter can do better.

    The harm that an attack still does against it comes from the clean rows that it replaced.

    Hong et al. 2020, section 5.2, on what outlier removal is after.

    >>> rows, known = (torch.rand(3, 2), torch.tensor([0, 1, 1])), PerfectFilter.assumptions
    >>> train = Suspect(*rows, num_classes=2, assumptions=known, poison=torch.tensor([False, False, True]))
    >>> PerfectFilter().filter(train, generator=torch.Generator()).tolist()
    [True, True, False]
    """

    assumptions: ClassVar[Assumptions] = replace(CONTROL, source="control: the poison mask", knows_poison=True)

    def label_for(self, recipe: AnyRecipe) -> str:
        return "perfect_filter"

    def keep(self, train: Suspect, *, generator: torch.Generator) -> Tensor:
        return ~train.poison


@dataclass(frozen=True)
class RandomFilter(Defense):
    """Leave out as many rows as there are poison rows, at random: a filter has to do better.

    >>> rows, known = (torch.rand(9, 2), torch.arange(9) % 2), RandomFilter.assumptions
    >>> train = Suspect(*rows, num_classes=2, assumptions=known, budget=3)
    >>> int(RandomFilter().filter(train, generator=torch.Generator().manual_seed(0)).sum())
    6
    """

    assumptions: ClassVar[Assumptions] = replace(CONTROL, source="control: chance", knows_budget=True)

    def label_for(self, recipe: AnyRecipe) -> str:
        return "random_filter"

    def keep(self, train: Suspect, *, generator: torch.Generator) -> Tensor:
        keep = torch.ones(len(train), dtype=torch.bool)
        keep[torch.randperm(len(train), generator=generator)[: train.budget]] = False
        return keep
