"""What victims that are linear models are regularised by, for attacks and defences that train them as well."""

from gradshape import learners
from gradshape.learners.linear import Penalty
from gradshape.training.recipe import AnyRecipe, Fit


def penalty_of(recipe: AnyRecipe, *, rows: int) -> Penalty | None:
    """The penalty that a linear regression is fitted with; ``None`` if the recipe is none.

    Args:
        recipe: of the victim.
        rows: number of rows that it is trained on, at least 1: scikit-learn's ridge regression adds its penalty to the
            *sum* of the squared errors.

    >>> penalty_of(Fit("ridge", alpha=2.0), rows=100)
    Penalty(l1=0.0, l2=0.02)
    >>> penalty_of(Fit("svm_linear"), rows=100) is None
    True
    """
    from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, Ridge

    if not isinstance(recipe, Fit):
        return None
    model = learners.build(recipe.model, dict(recipe.settings))
    if isinstance(model, LinearRegression):
        return Penalty()
    if isinstance(model, Ridge):
        return Penalty(l2=float(model.alpha) / rows)
    if isinstance(model, Lasso):
        return Penalty(l1=float(model.alpha))
    if isinstance(model, ElasticNet):
        share = float(model.l1_ratio)
        return Penalty(l1=float(model.alpha) * share, l2=float(model.alpha) * (1 - share))
    return None


def known_penalty(recipe: AnyRecipe, *, rows: int) -> Penalty:
    """As :func:`penalty_of`, for what cannot do without.

    Raises:
        ValueError: the victim is no linear regression.
    """
    found = penalty_of(recipe, rows=rows)
    if found is None:
        raise ValueError(f"recipe={recipe!r}: expected a Fit of a linear regression; or pass penalty=Penalty(...)")
    return found
