"""Learners of the user's own as victims."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor, nn

from gradshape import learners
from gradshape.data import Dataset, Split, Units, load
from gradshape.learners import named
from gradshape.training import Fit, TrainingResult, Victim, train_victims

MOONS = load("two_moons").subset(train=200, test=100)


def nearest(rows: Split, seed: int) -> Any:
    """Predicts the class of the nearer mean."""
    middles = torch.stack([rows.x[rows.y == y].mean(0) for y in range(2)])
    return lambda x: torch.cdist(x, middles).argmin(1)


def scores(rows: Split, seed: int) -> Any:
    predict = nearest(rows, seed)
    return lambda x: nn.functional.one_hot(predict(x), 2).float()


def network(rows: Split, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(rows.x), rows.y).backward()
        optimizer.step()
    return model


class Means:
    """Has ``predict``, and is no estimator of scikit-learn."""

    def __init__(self, rows: Split) -> None:
        self.predicts = nearest(rows, 0)

    def predict(self, x: np.ndarray) -> list[int]:
        found: list[int] = self.predicts(torch.from_numpy(x)).tolist()
        return found


def means(rows: Split, seed: int) -> Means:
    return Means(rows)


def trained(model: Any, *seeds: int, data: Dataset = MOONS, **settings: Any) -> list[TrainingResult]:
    return train_victims(data, [Victim(Fit(model, **settings), seed) for seed in seeds or (0,)])


def test_whatever_a_function_returns_predicts_classes() -> None:
    accuracies = {train.__name__: trained(train)[0].accuracy.item() for train in (nearest, scores, means)}
    assert len(set(accuracies.values())) == 1
    assert accuracies["nearest"] > 0.7


def test_a_returned_network_predicts_in_evaluation_mode() -> None:
    one, again, other = (trained(network, seed)[0].accuracy.item() for seed in (1, 1, 2))
    assert one == again
    assert min(one, other) > 0.75


def test_a_seed_is_the_victims_whoever_trains_beside_it() -> None:
    seeds = []

    def remembers(rows: Split, seed: int) -> Any:
        seeds.append(seed)
        return nearest(rows, seed)

    trained(remembers, 0, 1)
    trained(remembers, 1)
    assert len(set(seeds)) == 2
    assert seeds[1] == seeds[2]


def test_settings_reach_the_function() -> None:
    def constant(rows: Split, seed: int, *, answer: int) -> Any:
        return lambda x: torch.full((len(x),), answer)

    for answer in (0, 1):
        [result] = trained(constant, answer=answer)
        assert result.accuracy.item() == (MOONS.test.y == answer).double().mean().item()


def test_rows_have_their_shape_and_the_users_units() -> None:
    seen: list[tuple[Any, ...]] = []

    def looks(rows: Split, seed: int) -> Any:
        def predict(x: Tensor) -> Tensor:
            seen.append((x.shape[1:], float(x.min()), float(x.max()), None))
            return torch.zeros(len(x))

        seen.append((rows.x.shape[1:], float(rows.x.min()), float(rows.x.max()), rows.y.dtype))
        return predict

    generator = torch.Generator().manual_seed(0)
    rows = Split(torch.rand(60, 1, 4, 4, generator=generator), torch.arange(60) % 2)
    data = Dataset("mine", rows, rows, num_classes=2, units=Units.of(-1, 3, row=(1, 4, 4)))
    trained(looks, data=data)
    assert {shape for shape, *_ in seen} == {(1, 4, 4)}
    assert all(-1 <= low < -0.9 and 2.9 < high <= 3 for _, low, high, _ in seen)
    assert seen[0][-1] == torch.int64


def test_what_a_function_does_to_its_rows_stays_with_it() -> None:
    def writes(rows: Split, seed: int) -> Any:
        predict = nearest(rows, seed)
        rows.x.zero_()
        rows.y.fill_(1)
        return lambda x: predict(x) + 0 * x.zero_().sum(1).long()

    before = MOONS.train.fingerprint, MOONS.test.fingerprint
    assert trained(writes)[0].accuracy.item() == trained(nearest)[0].accuracy.item()
    train, test = (Split(split.x, split.y) for split in (MOONS.train, MOONS.test))
    assert (train.fingerprint, test.fingerprint) == before


def test_numbers_that_are_not_finite_are_a_divergence() -> None:
    def diverges(rows: Split, seed: int) -> Any:
        return lambda x: torch.full((len(x), 2), torch.nan)

    [result] = trained(diverges)
    assert result.diverged == 1
    assert result.accuracy.item() == 0


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (lambda x: torch.zeros(3), r"expected \(100,\)"),
        (lambda x: torch.full((len(x),), 7), r"predicted 7 for row 0: expected class ids 0..1"),
        (lambda x: torch.full((len(x),), 0.25), "a probability"),
    ],
    ids=["few", "unknown", "probabilities"],
)
def test_predictions_that_are_none_are_refused(found: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trained(named(lambda rows, seed: found, name="mine"))


def test_a_function_that_returns_no_predictor_is_refused() -> None:
    def forgets(rows: Split, seed: int) -> None:
        return None

    with pytest.raises(ValueError, match=r"forgets returned None: expected an nn.Module, an object with predict\(x\)"):
        trained(forgets)


def test_an_estimator_is_cloned_for_every_victim_and_seeded() -> None:
    forest = RandomForestClassifier(n_estimators=3, max_depth=2)
    name = named(forest)
    made = [learners.build(name, {}, seed=seed) for seed in (1, 1, 2)]
    assert len({id(one) for one in (forest, *made)}) == 4
    assert [one.random_state for one in made] == [1, 1, 2]  # type: ignore[attr-defined]
    assert trained(forest)[0].accuracy.item() == trained(forest)[0].accuracy.item() > 0.8


def test_every_random_state_of_a_pipeline_is_seeded() -> None:
    pipeline = make_pipeline(StandardScaler(), SGDClassifier())
    made: Any = learners.build(named(pipeline, name="sgd"), {}, seed=2**40 + 5)
    assert made.get_params()["sgdclassifier__random_state"] == 5
    assert trained("sgd")[0].accuracy.item() > 0.7


def test_settings_are_those_of_the_estimator() -> None:
    made: Any = learners.build(named(LogisticRegression()), {"C": 0.25})
    assert made.C == 0.25
    with pytest.raises(ValueError, match="depth"):
        trained(LogisticRegression(), depth=3)


def test_a_class_is_made_for_every_victim() -> None:
    made: Any = learners.build(named(RandomForestClassifier), {"max_depth": 2}, seed=3)
    assert (made.random_state, made.max_depth) == (3, 2)


def test_regression_works_the_same() -> None:
    diabetes = load("diabetes").subset(train=100, test=50)

    def middle(rows: Split, seed: int) -> Any:
        return lambda x: rows.y.mean().expand(len(x))

    [guess], [ridge] = trained(middle, data=diabetes), trained(Ridge(), data=diabetes)
    assert guess.mse is not None
    assert ridge.mse is not None
    assert ridge.mse < guess.mse


SLOPE = np.array([0.25, 0.5], dtype=np.float32)

LINE = torch.rand(60, 2, generator=torch.Generator().manual_seed(0))
VALUES = Split(LINE, LINE @ torch.from_numpy(SLOPE))
LINES = Dataset("lines", VALUES, VALUES, num_classes=0)


class Slope(nn.Module):
    """Makes ``width`` columns of rows, the first of which is their value."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        return (x @ torch.from_numpy(SLOPE))[:, None].expand(-1, self.width)


class SlopeOfArrays:
    """The same as an object with ``predict``."""

    def __init__(self, width: int) -> None:
        self.width = width

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.repeat((x @ SLOPE)[:, None], self.width, axis=1)


SLOPES: dict[str, Any] = {"network": Slope, "predict": SlopeOfArrays, "function": lambda width: Slope(width).forward}


@pytest.mark.parametrize("kind", SLOPES)
def test_a_regression_is_given_one_number_a_row(kind: str) -> None:
    def slope(rows: Split, seed: int, *, width: int) -> Any:
        return SLOPES[kind](width)

    [result] = trained(named(slope, name=f"slope_{kind}"), data=LINES, width=1)
    assert result.mse == pytest.approx(0, abs=1e-12)
    for width in (2, 3):
        with pytest.raises(ValueError, match=rf"predicted an array \(60, {width}\): expected \(60,\) or \(60, 1\)"):
            trained(f"slope_{kind}", data=LINES, width=width)


@pytest.mark.parametrize("width", [1, 3])
def test_other_numbers_than_one_for_each_class_are_refused(width: int) -> None:
    def wide(rows: Split, seed: int, *, width: int) -> Any:
        return lambda x: torch.zeros(len(x), width)

    with pytest.raises(ValueError, match=rf"\(100, {width}\): expected \(100,\), class ids 0..1, or \(100, 2\)"):
        trained(wide, width=width)


class Makes(nn.Module):
    """A network that makes something of its logits."""

    def __init__(self, of: Any) -> None:
        super().__init__()
        self.of = of

    def forward(self, x: Tensor) -> Any:
        return self.of(torch.stack([x[:, 0], x[:, 1]], 1))


@pytest.mark.parametrize(
    ("of", "kind"), [(lambda z: {"logits": z}, "dict"), (lambda z: (z, z), "tuple")], ids=["dict", "tuple"]
)
@pytest.mark.parametrize("shape", ["network", "function"])
def test_a_predictor_that_makes_several_things_is_refused_by_name(of: Any, kind: str, shape: str) -> None:
    def several(rows: Split, seed: int) -> Any:
        return Makes(of) if shape == "network" else Makes(of).forward

    with pytest.raises(ValueError, match=rf"several returned makes a {kind} of rows: expected a"):
        trained(named(several, name=f"several_{kind}_{shape}"))


def test_a_network_that_makes_no_tensor_is_refused_by_name() -> None:
    def listing(rows: Split, seed: int) -> Any:
        return Makes(Tensor.tolist)

    with pytest.raises(ValueError, match="listing returned makes a list of rows: expected a tensor"):
        trained(listing)


def test_scores_of_a_type_that_numpy_lacks_are_taken() -> None:
    def halves(rows: Split, seed: int) -> Any:
        return Makes(Tensor.bfloat16)

    def floats(rows: Split, seed: int) -> Any:
        return Makes(lambda z: z.bfloat16().float())

    assert trained(halves)[0].accuracy.item() == trained(floats)[0].accuracy.item()


def test_two_learners_of_one_name_are_refused() -> None:
    named(LogisticRegression(C=1.0))
    named(LogisticRegression(C=1.0))
    for other in (LogisticRegression(C=2.0), LogisticRegression, nearest):
        with pytest.raises(ValueError, match="estimator 'LogisticRegression': another one is called so"):
            named(other, name="LogisticRegression")


def test_settings_that_are_too_long_to_be_printed_tell_two_learners_apart() -> None:
    one, other = ([RandomForestClassifier(n_estimators=n) for n in (*range(1, 90), last)] for last in (95, 96))
    named(make_pipeline(*one), name="long")
    named(make_pipeline(*one), name="long")
    with pytest.raises(ValueError, match="another one is called so"):
        named(make_pipeline(*other), name="long")


def test_what_is_no_learner_is_refused_with_what_is() -> None:
    with pytest.raises(TypeError, match=r"3: expected a name, an estimator, a class of them, or a function"):
        named(3)
    with pytest.raises(TypeError, match="expected a class with fit and predict"):
        named(dict)
    with pytest.raises(TypeError, match=r"expected a function train\(rows, seed\)"):
        named(lambda rows: None)
    with pytest.raises(ValueError, match="has no name for ids"):
        named(lambda rows, seed: None)
    with pytest.raises(ValueError, match="did you mean 'svm_linear'"):
        Fit("svm_linar")


def test_labels_without_a_class_are_predicted_as_that_class() -> None:
    rows = Split(torch.rand(10, 2), torch.ones(10, dtype=torch.int64))
    data = Dataset("one", rows, rows, num_classes=2)
    assert trained(nearest, data=data)[0].accuracy.item() == 1


class Trainer:
    def __init__(self, depth: int) -> None:
        self.depth = depth

    def run(self, rows: Split, seed: int) -> Any:
        return DecisionTreeClassifier(max_depth=self.depth).fit(rows.x.flatten(1).numpy(), rows.y.numpy())


@pytest.mark.parametrize(
    "make",
    [
        lambda depth: Trainer(depth).run,
        lambda depth: functools.partial(Trainer.run, Trainer(depth)),
        lambda depth: DecisionTreeClassifier(max_depth=depth),
    ],
    ids=["method", "partial", "estimator"],
)
def test_what_holds_other_values_takes_no_ones_place(make: Callable[[int], Any]) -> None:
    assert named(make(1), name="mine") == named(make(1), name="mine") == "mine"
    with pytest.raises(ValueError, match=r"another one is called so: .*learners\.named\(\.\.\., name='mine_2'\)"):
        named(make(3), name="mine")
    assert named(make(3), name="mine_2") == "mine_2"


def test_what_becomes_of_a_learner_later_changes_nothing() -> None:
    estimator, trainer = DecisionTreeClassifier(max_depth=1), Trainer(1)
    named(estimator, name="tree")
    named(trainer.run, name="method")
    estimator.max_depth = trainer.depth = 3
    assert learners.build("tree", {}).max_depth == 1  # type: ignore[attr-defined]
    rows = load("two_moons").train
    learned = learners.build("method", {}).fit_rows(rows)  # type: ignore[attr-defined]
    assert learned._predictor.max_depth == 1
    with pytest.raises(ValueError, match="another one is called so"):
        named(estimator, name="tree")
