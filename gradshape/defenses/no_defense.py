"""Plain training."""

from dataclasses import dataclass
from typing import ClassVar

from gradshape.defenses.base import Assumptions, Defense, DefenseKind
from gradshape.training import AnyRecipe


@dataclass(frozen=True)
class NoDefense(Defense):
    """Plain training: the row that every defence is compared with.

    >>> from gradshape.training import Adam, Recipe
    >>> NoDefense().label_for(Recipe("lr", Adam(0.01), batch_size=300, epochs=40))
    'vanilla'
    """

    assumptions: ClassVar[Assumptions] = Assumptions(
        kind=DefenseKind.NONE,
        indiscriminate=False,
        targeted=False,
        knows_training_data=False,
        knows_model=False,
        knows_targets=False,
        overhead=False,
        source="-",
    )

    def label_for(self, recipe: AnyRecipe) -> str:
        return "vanilla"
