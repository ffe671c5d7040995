"""Learners by name."""

import functools
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
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


SCALER, FOREST = StandardScaler(), RandomForestClassifier(3)
ONE = SGDClassifier(warm_start=True, random_state=0, max_iter=5, tol=None)


@pytest.mark.parametrize("factory", [lambda seed: ONE, functools.cache(lambda seed: SVC())], ids=["object", "cache"])
def test_a_factory_that_returns_the_same_estimator_is_refused(factory: Callable[..., Any]) -> None:
    learners.register("mine", factory)
    with pytest.raises(ValueError, match=r"estimator 'mine' returned the same \w+ twice.*: expected a new estimator"):
        learners.build("mine", {})


def _fitted(factory: Callable[..., Any]) -> None:
    learners.register("mine", factory)
    rng = np.random.default_rng(0)
    estimator = learners.build("mine", {}, seed=1)
    with learners.keeping_apart("mine", {}):
        estimator.fit(rng.random((20, 2)), np.arange(20) % 2)


class Holding:
    """Fits in place what it holds, as no estimator of scikit-learn does."""

    def __init__(self, *held: Any) -> None:
        self.held = [{"a": held}]

    def fit(self, x: Any, y: Any) -> None:
        for held in self.held[0]["a"]:
            held.fit(x, y)

    def predict(self, x: Any) -> Any:
        return np.zeros(len(x))


@pytest.mark.parametrize(
    ("factory", "part"),
    [
        (lambda seed: make_pipeline(SCALER, SVC()), "StandardScaler"),
        (lambda seed: Holding(SVC(), ONE), "SGDClassifier"),
    ],
    ids=["pipeline", "held"],
)
def test_estimators_that_change_what_they_share_are_refused(factory: Callable[..., Any], part: str) -> None:
    with pytest.raises(ValueError, match=rf"estimator 'mine' gives all its estimators the same {part}, which a fit"):
        _fitted(factory)


PRIORS, LOCK = [0.5, 0.5], threading.Lock()


@pytest.mark.parametrize(
    "factory",
    [
        lambda seed: BaggingClassifier(FOREST, random_state=seed),
        lambda seed: GaussianNB(priors=PRIORS),
        lambda seed: make_pipeline(StandardScaler(), SVC()),
        lambda seed: _holding_a_lock(),
        lambda seed: Holding(SVC(kernel=_kernel)),
    ],
    ids=["cloned", "constant", "new parts", "lock", "function"],
)
def test_estimators_may_share_what_no_fit_changes(factory: Callable[..., Any]) -> None:
    _fitted(factory)


def _kernel(x: Any, y: Any) -> Any:
    return x @ y.T


def _holding_a_lock() -> Any:
    made = SVC()
    made.lock = LOCK
    return made


def test_the_look_at_what_is_shared_draws_no_number() -> None:
    learners.register("mine", lambda seed: RandomForestClassifier(random_state=np.random.randint(1000)))  # noqa: NPY002
    found = []
    for _ in range(2):
        np.random.seed(0)  # noqa: NPY002
        found.append(learners.build("mine", {}).random_state)  # type: ignore[attr-defined]
    assert found[0] == found[1]
