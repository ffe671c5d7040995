"""What a training with poison begins with."""

from dataclasses import dataclass, replace
from enum import Enum

from gradshape import _validate
from gradshape.training import AnyRecipe, Optimizer, Recipe


@dataclass(frozen=True)
class Scratch:
    """Training begins with freshly drawn weights, and has the poison from its first step."""

    @property
    def label(self) -> str:
        return ""


class By(Enum):
    """Whose recipe a training is by."""

    VANILLA = "vanilla"
    DEFENDED = "defended"


@dataclass(frozen=True)
class Retrained:
    """A base model is trained on clean data first, and its best state is trained further with the poison.

    Args:
        epochs: of the second training.
        optimizer: of the second training; that of the recipe it is by, if ``None``.
        base: by whose recipe the base model is trained.
        again: by whose recipe it is trained further.
        remembers: whether the second training goes on with what the optimizer remembered at the best epoch, as in the
            paper's code, or begins with a fresh one. Only where both trainings have the same optimizer.

    Raises:
        ValueError: ``epochs`` is not positive.

    Hong et al. 2020, section 6.5 and Table 3, combine the two recipes.

    >>> Retrained().label, Retrained(base=By.DEFENDED, again=By.VANILLA, remembers=True).label
    ('_retrained', '_defended_to_vanilla_remembering')
    """

    epochs: int = 20
    optimizer: Optimizer | None = None
    base: By = By.VANILLA
    again: By = By.DEFENDED
    remembers: bool = False

    def __post_init__(self) -> None:
        _validate.positive_int(epochs=self.epochs)

    @property
    def label(self) -> str:
        how = "retrained"
        if (self.base, self.again) != (By.VANILLA, By.DEFENDED):
            how = f"{self.base.value}_to_{self.again.value}"
        return f"_{how}{'_remembering' if self.remembers else ''}"

    def recipe(self, defended: Recipe) -> Recipe:
        """The second training by the defended recipe."""
        return replace(defended, epochs=self.epochs, optimizer=self.optimizer or defended.optimizer)

    def recipes(self, vanilla: Recipe, defended: Recipe) -> tuple[Recipe, Recipe]:
        """The first and the second training.

        Raises:
            ValueError: the second one is to remember, and has another kind of optimizer.
        """
        of = {By.VANILLA: vanilla, By.DEFENDED: defended}
        first, second = of[self.base], self.recipe(of[self.again])
        if self.remembers and type(first.optimizer) is not type(second.optimizer):
            raise ValueError(
                f"remembers=True: the base model is trained by {first.optimizer!r}, which remembers nothing that "
                f"{second.optimizer!r} could go on with: expected the same kind of optimizer"
            )
        return first, second


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
