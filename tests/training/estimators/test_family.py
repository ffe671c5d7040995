from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from gradshape.data import Dataset, Split
from gradshape.learners import registry
from gradshape.learners.registry import Array
from gradshape.testing._datasets import plane
from gradshape.training import SGD, Fit, Recipe, Victim, train_victims
from tests.training.samples import blobs, random_rows

CLASSES = blobs(rows=90, spread=0.3)
TWO = blobs(rows=90, classes=2, spread=0.3)
VALUES = plane(noise=0.1)


def arrays(split: Split) -> tuple[Array, Array]:
    return split.x.flatten(1).double().numpy(), split.y.numpy()


def accuracy(dataset: Dataset, victim: Victim) -> float:
    [result] = train_victims(dataset, [victim])
    return result.last_accuracy


def mse(victim: Victim, dataset: Dataset = VALUES) -> float:
    [result] = train_victims(dataset, [victim])
    assert result.mse is not None
    return result.mse


@pytest.mark.parametrize(
    ("recipe", "model"),
    [
        (Fit("svm_linear"), SVC(kernel="linear")),
        (Fit("svm_linear", c=0.01), SVC(kernel="linear", C=0.01)),
        (Fit("svm_rbf", c=2.0, gamma=0.7), SVC(C=2, gamma=0.7)),
        (Fit("logistic", c=0.5), LogisticRegression(C=0.5)),
    ],
    ids=str,
)
def test_the_accuracy_is_that_of_scikit_learn(recipe: Fit, model: Any) -> None:
    x, y = arrays(CLASSES.test)
    assert accuracy(CLASSES, Victim(recipe, 0)) == model.fit(*arrays(CLASSES.train)).score(x, y)


@pytest.mark.parametrize(
    ("recipe", "model"),
    [
        (Fit("linear"), LinearRegression()),
        (Fit("ridge", alpha=3.0), Ridge(alpha=3)),
        (Fit("lasso", alpha=0.01), Lasso(alpha=0.01)),
    ],
    ids=str,
)
def test_the_error_of_a_regression_is_that_of_scikit_learn(recipe: Fit, model: Any) -> None:
    x, y = arrays(VALUES.test)
    expected = np.square(model.fit(*arrays(VALUES.train)).predict(x) - y).mean()
    assert mse(Victim(recipe, 0)) == pytest.approx(expected, rel=1e-3)


def test_a_result_has_what_applies_to_its_task() -> None:
    [classes] = train_victims(CLASSES, [Victim(Fit("logistic"), 0)])
    [values] = train_victims(VALUES, [Victim(Fit("ridge"), 0)])
    assert classes.accuracy.shape == (1,)
    assert classes.mse is None
    assert values.accuracy.shape == (0,)
    assert values.predictions is None
    for result in (classes, values):
        assert (result.last, result.best, result.diverged) == (None, None, None)


class Draws:
    """Predicts classes that it drew when it was built, and remembers the rows that it was fitted to."""

    seen: list[tuple[Array, Array]]

    def __init__(self, seed: int) -> None:
        self._classes = np.random.default_rng(seed).integers(0, 3, 10_000)

    def fit(self, x: Array, y: Array, /) -> object:
        type(self).seen.append((x, y))
        return self

    def predict(self, x: Array, /) -> Array:
        return self._classes[: len(x)]


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Array, Array]]:
    """What victims of ``Fit("draws")`` were fitted to."""
    monkeypatch.setitem(registry._LEARNERS, "draws", registry.Learner(lambda seed: Draws(seed)))
    monkeypatch.setattr(Draws, "seen", [], raising=False)
    return Draws.seen


def test_the_seed_is_the_source_of_all_randomness(draws: list[tuple[Array, Array]]) -> None:
    first, again, other = (accuracy(CLASSES, Victim(Fit("draws"), seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert np.array_equal(draws[0][0], draws[1][0])
    assert not np.array_equal(draws[0][0], draws[2][0])


def test_victims_of_one_order_see_the_train_rows_in_it(draws: list[tuple[Array, Array]]) -> None:
    train_victims(CLASSES, [Victim(Fit("draws"), seed, order_seed=5) for seed in (1, 2)])
    assert np.array_equal(draws[0][0], draws[1][0])


def rows_of(x: Array, y: Array) -> list[tuple[float, ...]]:
    return sorted((*row, float(label)) for row, label in zip(x.tolist(), y.tolist(), strict=True))


def test_it_is_fitted_to_kept_and_private_rows_and_no_others(draws: list[tuple[Array, Array]]) -> None:
    private, removed = random_rows(CLASSES, 7, seed=3), torch.tensor([0, 5, 89])
    train_victims(CLASSES, [Victim(Fit("draws"), 0, private=private, removed=removed)])
    kept = torch.ones(90, dtype=torch.bool)
    kept[removed] = False
    x, y = torch.cat([CLASSES.train.x[kept], private.x]), torch.cat([CLASSES.train.y[kept], private.y])
    [(seen_x, seen_y)] = draws
    assert seen_x.dtype == np.float64
    assert seen_y.dtype == np.int64
    assert rows_of(seen_x, seen_y) == rows_of(x.double().numpy(), y.numpy())


def test_regressions_are_fitted_to_values(monkeypatch: pytest.MonkeyPatch, draws: list[tuple[Array, Array]]) -> None:
    private = Split(VALUES.train.x[:3], 1 - VALUES.train.y[:3])
    train_victims(VALUES, [Victim(Fit("draws"), 0, private=private)])
    [(x, y)] = draws
    assert y.dtype == np.float64
    assert rows_of(x, y) == rows_of(
        torch.cat([VALUES.train.x, private.x]).double().numpy(), torch.cat([VALUES.train.y, private.y]).double().numpy()
    )


def test_pictures_are_flattened(draws: list[tuple[Array, Array]]) -> None:
    train_victims(blobs(rows=30, shape=(1, 3, 2)), [Victim(Fit("draws"), 0)])
    assert draws[0][0].shape == (30, 6)


def test_poison_changes_what_is_learned() -> None:
    flipped = Split(TWO.train.x.repeat(2, 1), (1 - TWO.train.y).repeat(2))
    assert (
        accuracy(TWO, Victim(Fit("svm_linear"), 0, private=flipped)) < 0.5 < accuracy(TWO, Victim(Fit("svm_linear"), 0))
    )
    far = Split(VALUES.train.x, (VALUES.train.y < 0.5).float())
    assert mse(Victim(Fit("ridge"), 0, private=far)) > 2 * mse(Victim(Fit("ridge"), 0))


def test_removed_poisoned_rows_do_no_harm() -> None:
    y = TWO.train.y.clone()
    y[:40] = 1 - y[:40]
    poisoned = replace(TWO, train=Split(TWO.train.x, y))
    few = Dataset("few", Split(TWO.train.x[40:], TWO.train.y[40:]), TWO.test, num_classes=2)
    victim = Victim(Fit("logistic"), 0, removed=torch.arange(40))
    assert accuracy(poisoned, victim) == accuracy(few, Victim(Fit("logistic"), 0)) > 0.8


@pytest.mark.parametrize("watched", [0, 4])
def test_watched_rows_are_predicted_once(watched: int) -> None:
    watch = CLASSES.test.x[:watched]
    [result] = train_victims(CLASSES, [Victim(Fit("svm_linear"), 0, watch=watch)])
    model = SVC(kernel="linear").fit(*arrays(CLASSES.train))
    assert result.predictions is not None
    assert result.predictions.dtype == torch.int64
    assert result.predictions.shape == (1, watched)
    if watched:
        assert result.predictions.tolist() == [model.predict(watch.double().numpy()).tolist()]


def test_rows_of_one_class_teach_that_class() -> None:
    ones = (TWO.train.y == 0).nonzero().squeeze(1)
    [result] = train_victims(TWO, [Victim(Fit("svm_linear"), 0, removed=ones, watch=TWO.test.x[:2])])
    assert result.last_accuracy == float((TWO.test.y == 1).double().mean())
    assert result.predictions is not None
    assert result.predictions.tolist() == [[1, 1]]


def test_estimators_and_networks_train_side_by_side() -> None:
    network = Victim(Recipe("lr", SGD(0.1), batch_size=9, epochs=2), 0)
    alone = accuracy(CLASSES, Victim(Fit("svm_linear"), 0))
    results = train_victims(CLASSES, [Victim(Fit("svm_linear"), 0), network, Victim(Fit("logistic"), 0)])
    assert [len(result.accuracy) for result in results] == [1, 2, 1]
    assert results[0].last_accuracy == alone


@pytest.mark.parametrize(("name", "near"), [("svm_liner", "svm_linear"), ("rigde", "ridge"), ("laso", "lasso")])
def test_an_unknown_model_lists_near_ones(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"unknown estimator '{name}': did you mean .*'{near}'.* known: "):
        Fit(name)


def test_an_unknown_setting_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"estimator 'ridge' with settings {'beta': 1}"):
        train_victims(VALUES, [Victim(Fit("ridge", beta=1), 0)])


Register = Callable[[Callable[[Array], object]], str]


@pytest.fixture
def predicts(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Registers an estimator that predicts what a function of the rows returns."""

    def register(answer: Callable[[Array], object]) -> str:
        class Answers:
            def fit(self, x: Array, y: Array, /) -> object:
                return self

            def predict(self, x: Array, /) -> Any:
                return answer(x)

        monkeypatch.setattr(registry, "_LEARNERS", dict(registry._LEARNERS))
        registry.register("answers", lambda seed: Answers())
        return "answers"

    return register


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param(lambda x: np.zeros((len(x), 1)), r"an array \(40, 1\): expected \(40,\)", id="a column"),
        pytest.param(lambda x: np.zeros(len(x) - 1), r"an array \(39,\): expected \(40,\)", id="a row short"),
        pytest.param(lambda x: np.full(len(x), 0.25), r"0.25 for row 0: expected .* \(a probability", id="probability"),
        pytest.param(lambda x: 0.5 * np.arange(len(x)), "0.5 for row 1: expected class ids 0..2", id="halves"),
        pytest.param(lambda x: np.arange(len(x)), "3 for row 3: expected class ids 0..2", id="too large"),
        pytest.param(lambda x: -np.ones(len(x), int), "-1 for row 0: expected class ids 0..2", id="negative"),
        pytest.param(lambda x: np.full(len(x), 2**63, np.uint64), "9223372036854775808 for row 0", id="wraps"),
        pytest.param(lambda x: ["ham"] * len(x), r"type <U3, such as .*'ham'.*: expected class ids 0..2", id="names"),
        pytest.param(lambda x: [None] * len(x), "type object, such as None: expected class ids", id="nothing"),
        pytest.param(lambda x: np.zeros(len(x), complex), "type complex128", id="complex"),
    ],
)
def test_predictions_that_are_no_class_ids_are_refused(
    predicts: Register, answer: Callable[[Array], object], problem: str
) -> None:
    with pytest.raises(ValueError, match=f"estimator 'answers' predicted .*{problem}"):
        train_victims(CLASSES, [Victim(Fit(predicts(answer)), 0)])


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int64, np.bool_], ids=str)
def test_class_ids_may_be_numbers_of_any_type(predicts: Register, dtype: type[np.generic]) -> None:
    name = predicts(lambda x: np.ones(len(x), dtype))
    assert accuracy(TWO, Victim(Fit(name), 0)) == float((TWO.test.y == 1).double().mean())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_predicts_something_infinite_has_diverged(predicts: Register, value: float) -> None:
    name = predicts(lambda x: np.where(np.arange(len(x)) < 4, value, 1.0))
    [classes] = train_victims(TWO, [Victim(Fit(name), 0, watch=TWO.test.x[2:6])])
    assert classes.diverged == 1
    assert classes.last_accuracy == float((TWO.test.y[4:] == 1).double().sum() / len(TWO.test))
    assert classes.predictions is not None
    assert classes.predictions.tolist() == [[-1, -1, -1, -1]]
    [values] = train_victims(VALUES, [Victim(Fit(name), 0)])
    assert values.diverged == 1


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param(lambda x: np.zeros((len(x), 2)), r"an array \(\d+, 2\): expected \(\d+,\) or", id="two columns"),
        pytest.param(lambda x: ["1"] * len(x), "type <U1, such as .*: expected numbers", id="text"),
    ],
)
def test_predictions_that_are_no_values_are_refused(
    predicts: Register, answer: Callable[[Array], object], problem: str
) -> None:
    with pytest.raises(ValueError, match=f"estimator 'answers' predicted .*{problem}"):
        train_victims(VALUES, [Victim(Fit(predicts(answer)), 0)])


def test_it_is_not_trained_by_gradient_steps() -> None:
    with pytest.raises(TypeError, match=r"recipe=Fit\(.*expected a Recipe"):
        _ = Victim(Fit("ridge"), 0).descent


def test_settings_are_part_of_what_it_is() -> None:
    assert Fit("ridge", alpha=1.0) == Fit("ridge", alpha=1.0) != Fit("ridge", alpha=2.0)
    assert hash(Fit("svm_rbf", gamma=0.1, c=2.0)) == hash(Fit("svm_rbf", c=2.0, gamma=0.1))
    assert Fit("ridge").epochs == 1


def test_victims_of_a_factory_with_one_estimator_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_LEARNERS", dict(registry._LEARNERS))
    whole, scaler = SGDClassifier(warm_start=True, random_state=0, max_iter=5, tol=None), StandardScaler()
    registry.register("shared", lambda seed: whole)
    registry.register("scaled", lambda seed: make_pipeline(scaler, SVC()))
    with pytest.raises(ValueError, match="'shared' returned the same SGDClassifier twice"):
        train_victims(TWO, [Victim(Fit("shared"), 0)])
    with pytest.raises(ValueError, match="'scaled' gives all its estimators the same StandardScaler"):
        train_victims(TWO, [Victim(Fit("scaled"), 0)])
