"""Gradient shaping as a defence: DP-SGD, DP-Adam and whatever else a shaper can do."""

from dataclasses import dataclass, replace
from typing import ClassVar

from gradshape import _validate
from gradshape.defenses.base import Assumptions, Defense, DefenseKind
from gradshape.shaping import Part, Shaper
from gradshape.training import AnyRecipe, Recipe


@dataclass(frozen=True, init=False)
class GradientShaping(Defense):
    """Train with shaped per-sample gradients. With clipping and noise this is DP-SGD, or DP-Adam, by the optimizer.

    Args:
        shaper: a shaper or a single part of one.
        rate: the learning rate, as a multiple of the undefended recipe's: Hong et al. train with twice its rate.

    Raises:
        ValueError: the shaper does nothing (that is :class:`~gradshape.defenses.NoDefense`), or ``rate`` is not
            positive.

    Abadi et al. 2016; as a defence: Hong et al. 2020, section 5.3.

    >>> from gradshape.shaping import Clip, Noise
    >>> from gradshape.training import Adam
    >>> GradientShaping(Clip(4) | Noise(0.1)).label_for(Recipe("lr", Adam(0.01), batch_size=300, epochs=40))
    'dp_adam_c4_s0.1'
    """

    shaper: Shaper
    rate: float

    assumptions: ClassVar[Assumptions] = Assumptions(
        kind=DefenseKind.DP_OPTIMIZER,
        indiscriminate=True,
        targeted=True,
        knows_training_data=False,
        knows_model=False,
        knows_targets=False,
        overhead=False,
        source="Hong et al. 2020, section 5.3",
    )

    def __init__(self, shaper: Shaper | Part, *, rate: float = 1.0) -> None:
        _validate.positive(rate=rate)
        whole = shaper if isinstance(shaper, Shaper) else Shaper((shaper,))
        if whole.is_vanilla:
            raise ValueError(f"shaper={shaper!r} leaves gradients as they are: use NoDefense()")
        object.__setattr__(self, "shaper", whole)
        object.__setattr__(self, "rate", float(rate))

    def label_for(self, recipe: AnyRecipe) -> str:
        rate = "" if self.rate == 1 else f"_x{self.rate:g}"
        # A recipe that it refuses needs a name, too, to say so.
        how = recipe.optimizer.label if isinstance(recipe, Recipe) else recipe.model
        return f"dp_{how}_{self.shaper.label}{rate}"

    def refuses(self, recipe: AnyRecipe, *, num_classes: int | None) -> str | None:
        return None if isinstance(recipe, Recipe) else f"{recipe.model} is not trained by gradient steps"

    def shape(self, recipe: AnyRecipe) -> Recipe:
        descent = _descent(recipe)
        optimizer = replace(descent.optimizer, lr=descent.optimizer.lr * self.rate)
        return replace(descent, optimizer=optimizer, shaper=descent.shaper | self.shaper)


def _descent(recipe: AnyRecipe) -> Recipe:
    if not isinstance(recipe, Recipe):
        raise ValueError(f"recipe={recipe!r}: gradient shaping needs a recipe that trains by gradient steps")
    return recipe
