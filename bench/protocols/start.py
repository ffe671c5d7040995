"""What a training with poison begins with."""

from dataclasses import dataclass, replace

from gradshape import _validate
from gradshape.training import AnyRecipe, Optimizer, Recipe


@dataclass(frozen=True)
class Scratch:
    """Training begins with freshly drawn weights, and has the poison from its first step."""

    @property
    def label(self) -> str:
        return ""


@dataclass(frozen=True)
class Retrained:
    """The vanilla recipe is trained on clean data first, and its best state is trained further with the poison.

    Args:
        epochs: of the second training.
        optimizer: of the second training; the recipe's if ``None``.

    Raises:
        ValueError: ``epochs`` is not positive.
    """

    epochs: int = 20
    optimizer: Optimizer | None = None

    def __post_init__(self) -> None:
        _validate.positive_int(epochs=self.epochs)

    @property
    def label(self) -> str:
        return "_retrained"

    def recipe(self, defended: Recipe) -> Recipe:
        """The second training, where the first one is defended by ``defended`` from scratch."""
        return replace(defended, epochs=self.epochs, optimizer=self.optimizer or defended.optimizer)


def descent(recipe: AnyRecipe, what: str) -> Recipe:
    """``recipe`` as one that is trained by gradient steps.

    Args:
        recipe: of a case.
        what: what needs one, for the message.

    Raises:
        ValueError: it is fitted by an estimator.
    """
    if not isinstance(recipe, Recipe):
        raise ValueError(f"{recipe.model!r} is fitted by an estimator: {what} needs a recipe with gradients")
    return recipe
