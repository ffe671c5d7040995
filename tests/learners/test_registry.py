"""Learners by name."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import SVC

from gradshape import learners
from gradshape.learners import registry


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_LEARNERS", dict(registry._LEARNERS))


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="'ridge' exists already"):
        learners.register("ridge", lambda seed: LinearRegression())


def _forest(n_estimators: int = 10, seed: int = 0) -> Any:
    return RandomForestClassifier(n_estimators, random_state=seed)


@pytest.mark.parametrize(
    ("factory", "first", "remedy"),
    [
        (
            RandomForestClassifier,
            "n_estimators",
            r"lambda seed, \*\*settings: RandomForestClassifier\(random_state=seed, \*",
        ),
        (LogisticRegression, "penalty", r"LogisticRegression\(random_state=seed, \*\*settings\)"),
        (SVC, "none", r"SVC\(random_state=seed"),
        (_forest, "n_estimators", r"lambda seed, \*\*settings: \.\.\."),
        (partial(RandomForestClassifier, 10), "none", "lambda seed"),
        (lambda c=1.0: SVC(C=c), "c", "lambda seed"),
        (lambda *all, **named: SVC(*all, **named), "none", "lambda seed"),
        (lambda: SVC(), "none", "lambda seed"),
    ],
    ids=["class", "penalty", "keywords only", "function", "partial", "default", "anything", "nothing"],
)
def test_a_factory_that_does_not_take_the_seed_first_is_refused(
    factory: Callable[..., Any], first: str, remedy: str
) -> None:
    with pytest.raises(ValueError, match=rf"estimator 'mine': .* its first one is '?{first}'?: write .*{remedy}"):
        learners.register("mine", factory)
    assert "mine" not in learners.names()


class Seeded(RandomForestClassifier):  # type: ignore[misc]
    """Takes the seed first."""

    def __init__(self, random_state: int = 0) -> None:
        super().__init__(3, random_state=random_state)


@pytest.mark.parametrize(
    "factory",
    [
        lambda seed, **settings: RandomForestClassifier(random_state=seed, **settings),
        lambda s: RandomForestClassifier(random_state=s),
        lambda seed, depth=3: RandomForestClassifier(max_depth=depth, random_state=seed),
        lambda _, *, trees=3: RandomForestClassifier(trees),
        partial(_forest, 10),
        Seeded,
    ],
    ids=["seed", "one argument", "seed first", "unused", "partial", "class"],
)
def test_a_factory_that_takes_the_seed_first_is_registered(factory: Callable[..., Any]) -> None:
    learners.register("mine", factory)
    assert learners.learner("mine").factory is factory
    assert learners.registered() == {"mine": learners.Learner(factory)}
