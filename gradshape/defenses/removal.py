"""The base of the defences that leave out the share of every class that scores highest."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.defenses.base import FILTER, Assumptions, Defense, Suspect
from gradshape.training import AnyRecipe


@dataclass(frozen=True)
class ShareFilter(Defense):
    """Base of the defences that leave out the rows of every class that score highest: authors write :meth:`scores`.

    Whatever the scores are, exactly ``round((1 - removed) m)`` of the ``m`` rows of a class are kept.

    Args:
        removed: share of each class to leave out, above 0 and below 1; 0.05 in the paper.

    Attributes:
        name: of the defence, in labels.
        letters: the letters that stand for the other parameters in labels, where they are not their defaults.

    Raises:
        ValueError: the share is out of range.

    Koh, Steinhardt and Liang 2018, section 3.
    """

    removed: float = 0.05

    name: ClassVar[str]
    letters: ClassVar[Mapping[str, str]] = {}
    assumptions: ClassVar[Assumptions] = replace(
        FILTER,
        source="Koh, Steinhardt and Liang 2018, Stronger data poisoning attacks break data sanitization defenses",
    )

    def __post_init__(self) -> None:
        _validate.open_fraction(removed=self.removed)

    @abstractmethod
    def scores(self, train: Suspect) -> Tensor:
        """Return ``(N,)`` scores, the higher the more a row looks like poison; none is NaN."""

    def label_for(self, recipe: AnyRecipe) -> str:
        changed = [
            f"_{letter}{getattr(self, name):g}"
            for name, letter in self.letters.items()
            if getattr(self, name) != getattr(type(self), name)
        ]
        return f"{self.name}_{100 * self.removed:g}{''.join(changed)}"

    def refuses(self, recipe: AnyRecipe, *, num_classes: int | None) -> str | None:
        return lacks_classes(num_classes)

    @final
    def keep(self, train: Suspect, *, generator: torch.Generator) -> Tensor:
        return keep_lowest(self.scores(train), train.y, removed=self.removed)


def keep_lowest(scores: Tensor, y: Tensor, *, removed: float) -> Tensor:
    """Keep, of the ``m`` rows of every class, the ``round((1 - removed) m)`` with the lowest scores.

    Halves are rounded to even, as ``round`` does. Among equal scores the rows that come first are kept. A class may
    be left out as a whole.

    Args:
        scores: ``(N,)``, none of them NaN.
        y: ``(N,)`` int64 classes.
        removed: share of each class to leave out, in [0, 1].

    Returns:
        ``(N,)`` bool, true for the rows that are kept.

    Raises:
        ValueError: ``removed`` is out of range, or a score is NaN.

    Koh, Steinhardt and Liang 2018, section 3.

    >>> keep_lowest(torch.tensor([3.0, 1.0, 2.0, 9.0]), torch.tensor([0, 0, 0, 1]), removed=0.4).tolist()
    [False, True, True, True]
    """
    _validate.fraction(removed=removed)
    if bool(scores.isnan().any()):
        raise ValueError(f"scores: {int(scores.isnan().sum())} of {len(scores)} are NaN: expected numbers")
    keep = torch.zeros(len(y), dtype=torch.bool)
    for label in y.unique().tolist():
        members = (y == label).nonzero().squeeze(1)
        lowest = scores[members].argsort(stable=True)[: round((1 - removed) * len(members))]
        keep[members[lowest]] = True
    return keep


def lacks_classes(num_classes: int | None) -> str | None:
    """Return why rows cannot be told apart by class; ``None`` if they can, or if their number is not known yet."""
    return "it goes by class, and this is a regression task" if num_classes == 0 else None
