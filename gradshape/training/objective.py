"""What victims that are linear models minimise, for attacks and defences that train such a model themselves."""

from gradshape import learners
from gradshape.learners import Logistic, MarginLoss, Penalty
from gradshape.training.recipe import AnyRecipe, Fit


def penalty_of(recipe: AnyRecipe, *, rows: int) -> Penalty | None:
    """Return the penalty that a linear regression is fitted with; ``None`` if the recipe is none.

    Args:
        recipe: of the victim.
        rows: number of rows that it is trained on, at least 1: scikit-learn's ridge regression adds its penalty to the
            *sum* of the squared errors.

    >>> penalty_of(Fit("ridge", alpha=2.0), rows=100)
    Penalty(l1=0.0, l2=0.02)
    >>> penalty_of(Fit("svm_linear"), rows=100) is None
    True
    """
    if not isinstance(recipe, Fit):
        return None
    stated = learners.learner(recipe.model).penalty
    return None if stated is None else stated(learners.build(recipe.model, dict(recipe.settings)), rows)


def known_penalty(recipe: AnyRecipe, *, rows: int) -> Penalty:
    """Return the penalty of ``recipe``, as :func:`penalty_of` does; raise if it is no linear regression.

    Raises:
        ValueError: the victim is no linear regression.
    """
    found = penalty_of(recipe, rows=rows)
    if found is None:
        raise ValueError(f"recipe={recipe!r}: expected a Fit of a linear regression; or pass penalty=Penalty(...)")
    return found


def loss_of(recipe: AnyRecipe) -> MarginLoss:
    """Return the loss of a linear classifier that is trained in the victim's place; logistic if nothing else is known.

    >>> loss_of(Fit("svm_linear"))
    SmoothedHinge(temperature=0.1)
    """
    stated = learners.learner(recipe.model).loss if isinstance(recipe, Fit) else None
    return stated or Logistic()
