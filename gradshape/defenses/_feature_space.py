"""Penultimate features of training rows, for filters that look for feature collisions."""

import torch
from torch import Tensor

from gradshape import features
from gradshape.data import Dataset, Split
from gradshape.defenses.base import Suspect
from gradshape.defenses.removal import lacks_classes
from gradshape.training import AnyRecipe, Recipe, TrainedModel, Victim, train_victims


def suspect_features(train: Suspect, *, generator: torch.Generator) -> Tensor:
    """Compute the penultimate features of the rows.

    They are those of the victim's base model, if its training starts from one. For a victim that is trained from
    scratch the filter trains a network of its own first, on all of the rows and by the victim's recipe. That network
    learns from the poison, too, as in algorithm 1 of Tran, Li and Madry 2018.

    Args:
        train: ``N`` rows of at least one class. Needs ``knows_model``.
        generator: draws the seed of the network's training; nothing is drawn if there is a base model.

    Returns:
        ``(N, F)``, of the network in evaluation mode. For logistic regression they are the logits.

    Raises:
        ValueError: there is no base model, and the victim is not trained by gradient steps; features are not finite.

    >>> from gradshape import data
    >>> from gradshape.defenses import DeepKNN, Suspect
    >>> from gradshape.training import SGD
    >>> moons, known = data.load("two_moons").train, DeepKNN.assumptions
    >>> recipe = Recipe("mlp1", SGD(0.1), batch_size=50, epochs=1)
    >>> rows = Suspect(moons.x, moons.y, num_classes=2, assumptions=known, recipe=recipe)
    >>> suspect_features(rows, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([700, 256])
    """
    known = train.model or _trained_on(train, generator=generator)
    network = known.module(tuple(train.x.shape[1:]), max(train.num_classes, 2), device=train.x.device)
    return features.penultimate_features(network, train.x)


def lacks_features(recipe: AnyRecipe, num_classes: int | None) -> str | None:
    """Return why there is no network whose features tell the rows of a class apart; ``None`` if there is one."""
    if not isinstance(recipe, Recipe):
        return f"it looks at the features of a network, and {recipe.model} is none"
    return lacks_classes(num_classes)


def _trained_on(train: Suspect, *, generator: torch.Generator) -> TrainedModel:
    recipe = train.recipe
    if not isinstance(recipe, Recipe):
        raise ValueError(f"recipe={recipe!r}: expected a Recipe: the filter looks at a network's features")
    seed = int(torch.randint(2**62, (), generator=generator))
    # The evaluation after every epoch is not needed, so one row is enough.
    unused = Split(train.x[:1], train.y[:1])
    rows = Dataset(
        "suspect rows",
        Split(train.x, train.y),
        unused,
        num_classes=max(train.num_classes, 2),
        units=train.units,
    )
    [result] = train_victims(rows, [Victim(recipe, seed)], device=train.x.device)
    if result.last is None:
        raise RuntimeError("the training returned no parameters")
    return TrainedModel(recipe, result.last, units=train.units)
