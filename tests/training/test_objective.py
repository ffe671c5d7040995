from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet, RidgeClassifier

from gradshape import learners
from gradshape.learners import Logistic, MarginLoss, SmoothedHinge, SquaredMargin, registry
from gradshape.learners.linear import Penalty, fit_linear
from gradshape.testing._datasets import plane_rows
from gradshape.training import SGD, AnyRecipe, Fit, Recipe, known_penalty, loss_of, penalty_of

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


@pytest.fixture
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_LEARNERS", dict(registry._LEARNERS))


def _net_penalty(estimator: Any, rows: int) -> Penalty:
    share = estimator.l1_ratio
    return Penalty(l1=estimator.alpha * share, l2=estimator.alpha * (1 - share))


@pytest.mark.usefixtures("_own_registry")
def test_a_registered_regression_has_the_penalty_that_it_is_registered_with() -> None:
    learners.register("net", lambda seed: ElasticNet(alpha=0.1, l1_ratio=0.25), penalty=_net_penalty)
    learners.register("other_net", lambda seed: ElasticNet(alpha=0.1, l1_ratio=0.25))
    assert penalty_of(Fit("net"), rows=50) == Penalty(l1=0.025, l2=0.1 * 0.75)
    assert penalty_of(Fit("other_net"), rows=50) is None


@pytest.mark.parametrize(
    ("recipe", "loss"),
    [
        (Fit("svm_linear"), SmoothedHinge()),
        (Fit("svm_rbf"), SmoothedHinge()),
        (Fit("logistic"), Logistic()),
        (Recipe("lr", SGD(0.1), batch_size=2, epochs=1), Logistic()),
    ],
    ids=lambda value: str(getattr(value, "model", "")),
)
def test_support_vector_machines_have_a_hinge_and_others_the_logistic_loss(recipe: AnyRecipe, loss: MarginLoss) -> None:
    assert loss_of(recipe) == loss


@pytest.mark.usefixtures("_own_registry")
def test_a_registered_classifier_has_the_loss_that_it_is_registered_with() -> None:
    learners.register("least_squares", lambda seed: RidgeClassifier(), loss=SquaredMargin())
    assert loss_of(Fit("least_squares")) == SquaredMargin()


@pytest.mark.parametrize("recipe", OTHERS, ids=lambda recipe: recipe.model)
def test_others_have_none(recipe: AnyRecipe) -> None:
    assert penalty_of(recipe, rows=50) is None
    with pytest.raises(ValueError, match=f"recipe=.*{recipe.model}.*expected a Fit of a linear regression"):
        known_penalty(recipe, rows=50)
