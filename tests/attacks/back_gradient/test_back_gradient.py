"""Back-gradient poisoning."""

from itertools import pairwise
from typing import Any

import pytest
import torch

from gradshape import data
from gradshape.attacks import Crafting, PoisonSet
from gradshape.attacks._point_ascent import climb
from gradshape.attacks.back_gradient._flat_models import Adaline, FlatModel, SoftmaxRegression, TanhNetwork
from gradshape.attacks.back_gradient._poisoned_descent import PoisonedDescent, stable_rate
from gradshape.attacks.back_gradient.back_gradient import BackGradient, DescentModel
from gradshape.data import Dataset, Split
from gradshape.training import Adam, Recipe, Victim, train_victims
from tests.attacks.attacks import DATASETS

DIGITS = data.load("digits_38")
MODELS: dict[str, FlatModel] = {
    "lr": SoftmaxRegression(6, 4),
    "adaline": Adaline(6, 4),
    "mlp": TanhNetwork(6, 4, hidden=5),
}
each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
each_surrogate = pytest.mark.parametrize("surrogate", DescentModel)


def poisoned(model: FlatModel, *, retraced: bool = False) -> PoisonedDescent:
    """Trained on 30 rows of four classes and two points."""
    train = DATASETS["pictures"].train
    x = train.x.flatten(1).double()
    learner = PoisonedDescent(
        model,
        x[:30],
        train.y[:30],
        x[30:],
        train.y[30:],
        start=model.start(torch.Generator().manual_seed(0)),
        rate=0.1,
        steps=40,
        retraced=retraced,
    )
    learner.add(x[0], 1, 2.0)
    learner.add(x[1], 2, 0.5)
    return learner


@each_model
@pytest.mark.parametrize("point", [0, 1])
def test_the_gradient_is_a_finite_difference(model: FlatModel, point: int) -> None:
    learner = poisoned(model)
    start, gradient = learner.at(point).clone(), learner.gradient(point)
    losses = []
    for by in (1e-5, -1e-5):
        learner.move(point, start + by * gradient / gradient.norm())
        losses.append(learner.loss)
    difference = (losses[0] - losses[1]) / 2e-5
    assert abs(difference / float(gradient.norm()) - 1) < 1e-5


def test_a_retraced_gradient_is_near() -> None:
    exact, retraced = (poisoned(MODELS["lr"], retraced=retraced).gradient(0) for retraced in (False, True))
    assert not torch.equal(exact, retraced)
    assert float((exact - retraced).norm()) < 4e-2 * float(exact.norm())


@each_model
def test_a_climb_raises_the_loss_in_the_box_and_leaves_the_other_point(model: FlatModel) -> None:
    learner = poisoned(model)
    before, other = learner.loss, learner.at(1).clone()
    climb(learner, 0, step=0.5, steps=6, tolerance=0.0)
    assert learner.loss > before
    assert ((learner.at(0) >= 0) & (learner.at(0) <= 1)).all()
    assert torch.equal(learner.at(1), other)


@each_model
def test_steps_never_lose(model: FlatModel) -> None:
    losses = []
    for steps in range(1, 7):
        learner = poisoned(model)
        climb(learner, 0, step=0.5, steps=steps, tolerance=0.0)
        losses.append(learner.loss)
    assert all(later >= earlier for earlier, later in pairwise(losses))


@each_model
def test_a_heavy_point_is_many(model: FlatModel) -> None:
    one, many = poisoned(model), poisoned(model)
    row = torch.full((6,), 0.5).double()
    one.add(row, 3, 3.0)
    for _ in range(3):
        many.add(row, 3, 1.0)
    torch.testing.assert_close(one.parameters, many.parameters)


def test_a_descent_that_diverges_is_no_gain() -> None:
    train = DATASETS["pictures"].train
    x = train.x.flatten(1).double()
    model = MODELS["adaline"]
    start = model.start(torch.Generator())
    learner = PoisonedDescent(model, x, train.y, x, train.y, start=start, rate=1e9, steps=60)
    assert learner.loss == -torch.inf


@pytest.mark.parametrize("kind", ["lr", "adaline"])
def test_at_the_stable_rate_training_losses_fall_wherever_the_poison_is(kind: str) -> None:
    train, model = DATASETS["pictures"].train, MODELS[kind]
    x = train.x.flatten(1).double()
    rate = stable_rate(model, x, points=50.0)
    rows, labels = torch.cat([x, torch.ones(50, 6).double()]), torch.cat([train.y, torch.zeros(50, dtype=torch.int64)])
    losses = []
    for steps in (1, 2, 5, 20):
        learner = PoisonedDescent(
            model, rows, labels, rows, labels, start=model.start(torch.Generator()), rate=rate, steps=steps
        )
        losses.append(learner.loss)
    assert all(later < earlier for earlier, later in pairwise(losses))


@each_surrogate
@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
def test_the_loss_rises_and_the_notes_say_so(surrogate: DescentModel, dataset: Dataset) -> None:
    told: list[Crafting] = []
    attack = BackGradient(0.15, surrogate=surrogate, points=3, steps=5, descent=30)
    poison = attack(dataset, seed=0, progress=told.append)
    assert poison.notes["validation_loss"] > poison.notes["validation_loss_clean"]
    assert [(crafting.step, crafting.steps) for crafting in told] == [(1, 3), (2, 3), (3, 3)]
    assert all(later.objective > earlier.objective for earlier, later in pairwise(told))


@pytest.mark.parametrize("fraction", [0.01, 0.2, 1.0])
@pytest.mark.parametrize("points", [1, 3, 40])
def test_few_points_fill_the_budget_evenly(fraction: float, points: int) -> None:
    poison = BackGradient(fraction, points=points, steps=1, descent=3)(DATASETS["two-classes"], seed=0)
    _, counts = torch.cat([poison.x, poison.y[:, None]], dim=1).unique(dim=0, return_counts=True)
    assert len(poison) == round(104 * fraction)
    assert len(counts) <= points
    assert counts.max() - counts.min() <= 1


def test_points_bear_all_labels_by_turns_or_the_one_given() -> None:
    pictures = DATASETS["pictures"]
    every = BackGradient(0.2, points=8, steps=1, descent=3)(pictures, seed=0)
    assert sorted(every.y.unique().tolist()) == [0, 1, 2, 3]
    assert (pictures.train.y[every.source] != every.y).all()
    one = BackGradient(0.2, points=8, label_given=2, steps=1, descent=3)(pictures, seed=0)
    assert (one.y == 2).all()


def _loss(poison: PoisonSet) -> float:
    return float(poison.notes["validation_loss"])


def test_more_starts_begin_higher() -> None:
    attacks = [BackGradient(0.02, points=1, steps=1, starts=starts, descent=30) for starts in (1, 5)]
    one, five = ([_loss(attack(DIGITS, seed=seed)) for seed in range(6)] for attack in attacks)
    assert sum(five) > sum(one)


def test_a_victim_is_hurt_more_than_by_the_flips_that_points_start_from() -> None:
    moved, still = BackGradient(0.2, points=2), BackGradient(0.2, points=2, steps=1, step=1e-9)
    poisons = [attack(DIGITS, seed=seed) for attack in (moved, still) for seed in range(3)]
    recipe = Recipe("lr", Adam(0.01), batch_size=32, epochs=20)
    victims = [Victim(recipe, 0), *(Victim(recipe, 0, private=poison.rows) for poison in poisons)]
    clean, *hurt = [float(result.accuracy[-1]) for result in train_victims(DIGITS, victims)]
    assert clean - sum(hurt[:3]) / 3 > 0.08
    assert sum(hurt[3:]) / 3 - sum(hurt[:3]) / 3 > 0.04


def test_test_rows_play_no_part() -> None:
    other = Dataset(DIGITS.name, DIGITS.train, Split(1 - DIGITS.test.x, 1 - DIGITS.test.y), num_classes=2)
    attack = BackGradient(0.05, points=2, steps=2, descent=10)
    assert attack(DIGITS, seed=0).fingerprint == attack(other, seed=0).fingerprint


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fraction": -0.1}, "fraction=-0.1"),
        ({"surrogate": "adaline"}, "surrogate='adaline': expected one of DescentModel.LOGISTIC"),
        ({"label_given": -1}, "label_given=-1: expected a class id or None"),
        ({"points": 0}, "points=0"),
        ({"rate": 0.0}, r"rate=0\.0"),
        ({"descent": 0}, "descent=0"),
        ({"step": -1.0}, r"step=-1\.0"),
        ({"tolerance": -1.0}, r"tolerance=-1\.0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_settings_out_of_range_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BackGradient(**({"fraction": 0.1} | settings))


def test_a_label_that_the_data_lacks_is_named() -> None:
    with pytest.raises(ValueError, match="its label_given=2 is no class of this task"):
        BackGradient(0.1, label_given=2)(DIGITS, seed=0)


def test_labels_say_the_surrogate_and_the_percentage() -> None:
    assert (BackGradient(0.1).label, BackGradient(0.1).family) == ("back_gradient_10", "back_gradient")
    assert BackGradient(0.005, surrogate=DescentModel.NETWORK).label == "back_gradient_mlp_0.5"
