from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet

from gradshape import learners
from gradshape.learners import registry
from gradshape.learners.linear import Penalty, fit_linear
from gradshape.testing._datasets import plane_rows
from gradshape.training import SGD, AnyRecipe, Fit, Recipe, known_penalty, penalty_of

X, Y = plane_rows(80, noise=0.1)
REGRESSIONS = [Fit("linear"), Fit("ridge"), Fit("ridge", alpha=20.0), Fit("lasso"), Fit("lasso", alpha=0.01)]
OTHERS: list[AnyRecipe] = [Fit("svm_linear"), Fit("logistic"), Recipe("lr", SGD(0.1), batch_size=2, epochs=1)]


@pytest.mark.parametrize("recipe", REGRESSIONS, ids=str)
def test_the_fit_is_that_of_the_victim(recipe: Fit) -> None:
    model: Any = learners.build(recipe.model, dict(recipe.settings))
    model.fit(X.numpy(), Y.numpy())
    fit = fit_linear(X, Y, penalty=known_penalty(recipe, rows=len(Y)))
    np.testing.assert_allclose(fit.w, model.coef_, atol=2e-4)
    np.testing.assert_allclose(fit.b, model.intercept_, atol=2e-4)


def test_defaults_are_those_of_the_estimator() -> None:
    assert penalty_of(Fit("ridge"), rows=50) == Penalty(l2=1 / 50)
    assert penalty_of(Fit("lasso"), rows=50) == Penalty(l1=0.001)


def test_an_elastic_net_has_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._FACTORIES, "net", lambda seed: ElasticNet(alpha=0.1, l1_ratio=0.25))
    assert penalty_of(Fit("net"), rows=50) == Penalty(l1=0.025, l2=0.1 * 0.75)


@pytest.mark.parametrize("recipe", OTHERS, ids=lambda recipe: recipe.model)
def test_others_have_none(recipe: AnyRecipe) -> None:
    assert penalty_of(recipe, rows=50) is None
    with pytest.raises(ValueError, match=f"recipe=.*{recipe.model}.*expected a Fit of a linear regression"):
        known_penalty(recipe, rows=50)
