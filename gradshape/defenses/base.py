"""What every defence is: a change of the recipe, a filter of the training rows, or both."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, final

import torch
from torch import Tensor

from gradshape.data import Split
from gradshape.training import Recipe


class DefenseKind(Enum):
    """The mechanisms of the paper's Table 2."""

    NONE = "none"
    OUTLIER_REMOVAL = "outlier removal"
    DP_OPTIMIZER = "DP optimizer"


@dataclass(frozen=True)
class Assumptions:
    """One row of Table 2 of Hong et al. 2020: what a defence works by, and what it has to know.

    Attributes:
        kind: mechanism.
        indiscriminate, targeted: attacks that it was made for.
        knows_training_data, knows_model, knows_targets: what it needs to know.
        overhead: whether it costs more than plain training.
        source: where it is published.
    """

    kind: DefenseKind
    indiscriminate: bool
    targeted: bool
    knows_training_data: bool
    knows_model: bool
    knows_targets: bool
    overhead: bool
    source: str


class Defense(ABC):
    """Base of all defences: frozen dataclasses of plain values.

    A defence never sees which rows are poison: :meth:`filter` gets the mixed rows and nothing else.
    """

    assumptions: ClassVar[Assumptions]

    @abstractmethod
    def label(self, recipe: Recipe) -> str:
        """Name for ids when it defends ``recipe``: letters, digits, ``.``, ``-`` and ``_``."""

    def shape(self, recipe: Recipe) -> Recipe:
        """The recipe to train with instead of ``recipe``; the same unless overridden."""
        return recipe

    def keep(self, train: Split, *, generator: torch.Generator) -> Tensor | None:
        """``(N,)`` bool mask of the rows to train on, or ``None`` to keep all (the default)."""
        return None

    @property
    def filters(self) -> bool:
        """Whether it leaves out training rows."""
        return type(self).keep is not Defense.keep

    @final
    def filter(self, train: Split, *, generator: torch.Generator) -> Tensor | None:
        """As :meth:`keep`, checked.

        Raises:
            ValueError: the mask has another shape or dtype, or removes every row.
        """
        mask = self.keep(train, generator=generator)
        if mask is None:
            return None
        if mask.dtype != torch.bool or mask.shape != (len(train),):
            raise ValueError(
                f"{self!r} returned a mask {mask.dtype} {tuple(mask.shape)}: expected bool ({len(train)},)"
            )
        if not mask.any():
            raise ValueError(f"{self!r} removes all {len(train)} training rows: expected it to keep at least 1")
        return mask
