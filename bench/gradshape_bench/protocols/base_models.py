"""Base models, which are trained on clean data for what follows to go on from, and the recipes that train them."""

from dataclasses import dataclass

from gradshape.data import Dataset
from gradshape.training import AnyRecipe, Recipe, TrainedModel, TrainingResult
from gradshape.unsuitable import Unsuitable


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


def best_of(dataset: Dataset, recipe: Recipe, result: TrainingResult) -> TrainedModel:
    """Return the model after the epoch with the best test accuracy."""
    assert result.best is not None
    return TrainedModel(recipe, result.best, units=dataset.units)


def by_gradients(recipe: AnyRecipe, what: str) -> Recipe:
    """Return ``recipe`` if it is trained by gradient steps.

    Args:
        recipe: of a case.
        what: what needs one, for the message.

    Raises:
        Unsuitable: it is fitted by an estimator.
    """
    reason = lacks_gradients(recipe, what)
    if reason is not None or not isinstance(recipe, Recipe):
        raise Unsuitable(str(reason))
    return recipe


def lacks_gradients(recipe: AnyRecipe, what: str) -> str | None:
    """Return why ``what`` cannot be done with a recipe that is fitted by an estimator; ``None`` for other recipes."""
    if isinstance(recipe, Recipe):
        return None
    return f"{recipe.model!r} is fitted by an estimator: {what} needs a recipe with gradients"
