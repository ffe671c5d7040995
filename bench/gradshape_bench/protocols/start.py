"""What a training with poison begins with: fresh weights, or a base model that was trained on clean data."""

from dataclasses import dataclass, replace
from enum import Enum

from gradshape import _validate
from gradshape.training import AnyRecipe, Optimizer, Recipe, TrainedModel, TrainingResult
from gradshape_bench.protocols.base import Subject


@dataclass(frozen=True)
class Scratch:
    """Training begins with freshly drawn weights, and has the poison from its first step."""

    @property
    def label(self) -> str:
        return ""

    def recipes(self, case: Subject, what: str) -> tuple[Recipe, Recipe]:
        """Return the recipes of the training on clean data and of the one with poison: the defended one, twice.

        Args:
            case: whose recipes.
            what: what needs gradients, for the message.

        Raises:
            ValueError: a recipe is fitted by an estimator.
        """
        by_gradients(case.vanilla, what)
        defended = by_gradients(case.recipe, what)
        return defended, defended


class By(Enum):
    """Whose recipe a model is trained by."""

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

    def recipes(self, case: Subject, what: str) -> tuple[Recipe, Recipe]:
        """Return the recipes of the base model and of the training that goes on from it.

        Args:
            case: whose recipes.
            what: what needs gradients, for the message.

        Raises:
            ValueError: a recipe is fitted by an estimator, or the second training is to remember, and has another kind
                of optimizer.
        """
        of = {By.VANILLA: by_gradients(case.vanilla, what), By.DEFENDED: by_gradients(case.recipe, what)}
        first, again = of[self.base], of[self.again]
        second = replace(again, epochs=self.epochs, optimizer=self.optimizer or again.optimizer)
        if self.remembers and type(first.optimizer) is not type(second.optimizer):
            raise ValueError(
                f"remembers=True: the base model is trained by {first.optimizer!r}, which remembers nothing that "
                f"{second.optimizer!r} could go on with: expected the same kind of optimizer"
            )
        return first, second


@dataclass(frozen=True, eq=False)
class Base:
    """A base model of one seed.

    Attributes:
        seed: of the case.
        vanilla: a model trained by the vanilla recipe: what the defended base is compared with.
        result: the base's training. Its best optimizer's state is there if the second training is to remember it.
        model: its best state, with the recipe that it was trained by.
    """

    seed: int
    vanilla: TrainingResult
    result: TrainingResult
    model: TrainedModel

    @property
    def accuracy(self) -> float:
        """The test accuracy of the best state, from which training goes on."""
        return self.result.best_accuracy


def best_of(recipe: Recipe, result: TrainingResult) -> TrainedModel:
    """Return the model after the epoch with the best test accuracy."""
    assert result.best is not None
    return TrainedModel(recipe, result.best)


def by_gradients(recipe: AnyRecipe, what: str) -> Recipe:
    """Return ``recipe`` if it is trained by gradient steps.

    Args:
        recipe: of a case.
        what: what needs one, for the message.

    Raises:
        ValueError: it is fitted by an estimator.
    """
    if not isinstance(recipe, Recipe):
        raise ValueError(f"{recipe.model!r} is fitted by an estimator: {what} needs a recipe with gradients")
    return recipe
