"""Stacked training, training one by one, and training by hand are the same training."""

import math

import pytest
import torch

from gradshape.data import Dataset, Split
from gradshape.shaping import Clip, Noise, Shaper
from gradshape.training import SGD, Adam, Optimizer, Recipe, Victim, train_stacks, train_victims
from tests.training.samples import (
    ALL_SHAPERS,
    MORE_SHAPERS,
    OPTIMIZERS,
    SHAPERS,
    assert_results_equal,
    assert_states_equal,
    blobs,
    many_victims,
    random_rows,
    train_by_hand,
)

DATA, PAIR = blobs(), blobs(classes=2, spread=0.5)

each_model = pytest.mark.parametrize("model", ["lr", "mlp1", "mlp"])
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
each_shaper = pytest.mark.parametrize("shaper", ALL_SHAPERS.values(), ids=ALL_SHAPERS)


@each_model
@each_optimizer
def test_a_stack_equals_training_one_by_one(model: str, optimizer: Optimizer) -> None:
    victims = many_victims(DATA, model, optimizer)
    stacked = train_victims(DATA, victims, dtype=torch.float64)
    alone = train_victims(DATA, victims, dtype=torch.float64, stacked=False)
    assert_results_equal(stacked, alone, tolerance=1e-10)


@each_optimizer
def test_a_stack_of_two_classes_equals_training_one_by_one(optimizer: Optimizer) -> None:
    victims = many_victims(PAIR, "lr", optimizer, shapers=ALL_SHAPERS)
    stacked = train_victims(PAIR, victims, dtype=torch.float64)
    alone = train_victims(PAIR, victims, dtype=torch.float64, stacked=False)
    assert_results_equal(stacked, alone, tolerance=1e-9)


@pytest.mark.parametrize("model", ["lr", "mlp1"])
def test_a_stack_equals_training_one_by_one_under_every_part(model: str) -> None:
    victims = many_victims(DATA, model, Adam(0.02), shapers=MORE_SHAPERS)
    stacked = train_victims(DATA, victims, dtype=torch.float64)
    alone = train_victims(DATA, victims, dtype=torch.float64, stacked=False)
    assert_results_equal(stacked, alone, tolerance=1e-9)


def test_a_convolutional_network_equals_a_loop_written_by_hand() -> None:
    data = blobs(rows=20, shape=(1, 4, 4))
    recipe = Recipe("cnn", SGD(0.1), batch_size=6, epochs=2)
    victims = [Victim(recipe.with_shaper(shaper), 1) for shaper in MORE_SHAPERS.values()]
    for victim, result in zip(victims, train_victims(data, victims, dtype=torch.float64), strict=True):
        state, _ = train_by_hand(data, victim)
        assert_states_equal(result.last, state, tolerance=1e-9)


def test_the_victims_of_the_parity_test_share_stacks() -> None:
    victims = many_victims(DATA, "lr", SGD(0.1))
    stacks = [members for members, _ in train_stacks(DATA, victims)]
    assert sorted(index for members in stacks for index in members) == list(range(len(victims)))
    assert sorted(map(len, stacks)) == [len(SHAPERS)] * 5


TASKS = {"two-classes": ("lr", PAIR), "lr": ("lr", DATA), "mlp1": ("mlp1", DATA)}


@pytest.mark.parametrize(
    ("model", "data", "optimizer", "shaper"),
    [
        # Every shaper with every optimizer and every task, and every optimizer with every task.
        pytest.param(*TASKS[task], OPTIMIZERS[optimizer], shaper, id=f"{task}-{optimizer}-{name}")
        for i, (name, shaper) in enumerate(ALL_SHAPERS.items())
        for j, optimizer in enumerate(OPTIMIZERS)
        for task in [list(TASKS)[(i + j) % len(TASKS)]]
    ],
)
def test_one_victim_equals_a_loop_written_by_hand(
    model: str, data: Dataset, optimizer: Optimizer, shaper: Shaper
) -> None:
    recipe = Recipe(model, optimizer, batch_size=7, epochs=2, shaper=shaper)
    victim = Victim(recipe, 5, private=random_rows(data, 3, seed=1), removed=torch.tensor([1, 30]))
    [result] = train_victims(data, [victim], dtype=torch.float64)
    state, accuracies = train_by_hand(data, victim)
    assert_states_equal(result.last, state, tolerance=1e-10)
    assert result.accuracy.tolist() == accuracies


@each_model
@pytest.mark.parametrize("stacked", [True, False])
def test_no_limit_and_no_noise_is_plain_training(model: str, stacked: bool) -> None:
    plain = Recipe(model, SGD(0.2, momentum=0.5), batch_size=8, epochs=2)
    victims = [Victim(plain, 1), Victim(plain.with_shaper(Clip(math.inf) | Noise(0)), 1)]
    one, other = train_victims(DATA, victims, dtype=torch.float64, stacked=stacked)
    assert_results_equal([one], [other], tolerance=1e-12)


def test_clipping_to_0_leaves_the_parameters_as_they_were() -> None:
    recipe = Recipe("lr", SGD(0.2), batch_size=8, epochs=1, shaper=Shaper((Clip(0),)))
    initial = {"head.weight": torch.rand(3, 5), "head.bias": torch.rand(3)}
    [result] = train_victims(DATA, [Victim(recipe, 1, initial=initial)])
    assert_states_equal(result.last, initial, tolerance=0)


@pytest.mark.parametrize("model", ["lr", "mlp1"])
def test_float32_agrees_with_float64_to_a_test_row_or_two(model: str) -> None:
    victims = many_victims(DATA, model, Adam(0.02))
    single = train_victims(DATA, victims)
    double = train_victims(DATA, victims, dtype=torch.float64)
    for one, other in zip(single, double, strict=True):
        assert (one.accuracy - other.accuracy).abs().max() <= 2 / len(DATA.test)


@pytest.mark.parametrize("model", ["lr", "mlp1"])
def test_float32_stacks_agree_with_training_one_by_one_to_a_test_row_or_two(model: str) -> None:
    victims = many_victims(DATA, model, SGD(0.1, momentum=0.9))
    stacked = train_victims(DATA, victims)
    alone = train_victims(DATA, victims, stacked=False)
    for one, other in zip(stacked, alone, strict=True):
        assert (one.accuracy - other.accuracy).abs().max() <= 2 / len(DATA.test)
        assert_states_equal(one.last, other.last, tolerance=1e-3)


@pytest.mark.parametrize("rows", [1, 2, 9])
def test_data_smaller_than_a_batch_is_one_step_an_epoch(rows: int) -> None:
    data = blobs(rows=rows)
    recipe = Recipe("mlp1", SGD(0.3), batch_size=10, epochs=3, shaper=Shaper((Clip(0.4),)))
    victim = Victim(recipe, 2)
    [result] = train_victims(data, [victim], dtype=torch.float64)
    state, _ = train_by_hand(data, victim)
    assert_states_equal(result.last, state, tolerance=1e-10)


def test_rows_with_several_axes_are_flattened_the_same_way() -> None:
    data = blobs(shape=(2, 3, 2))
    victims = many_victims(data, "mlp1", SGD(0.1))
    stacked = train_victims(data, victims, dtype=torch.float64)
    alone = train_victims(data, victims, dtype=torch.float64, stacked=False)
    assert_results_equal(stacked, alone, tolerance=1e-10)


@pytest.mark.parametrize("model", ["lr", "mlp1"])
@each_shaper
def test_zero_weight_private_rows_change_nothing(model: str, shaper: Shaper) -> None:
    # Beside victims that have more private rows a victim has places for these, which must not count.
    recipe = Recipe(model, SGD(0.2, momentum=0.5), batch_size=7, epochs=2, shaper=shaper)
    few = [Victim(recipe, 5, order_seed=3), Victim(recipe, 6, random_rows(DATA, 1, seed=6), order_seed=3)]
    states = []
    for scale in (1, 1000):
        rows = [random_rows(DATA, count, seed=count) for count in (3, 4)]
        more = [Victim(recipe, 7 + k, Split(scale * x.x, x.y), order_seed=3) for k, x in enumerate(rows)]
        [[members, _]] = train_stacks(DATA, [*few, *more])
        assert len(members) == 4
        states.append([result.last for result in train_victims(DATA, [*few, *more], dtype=torch.float64)[:2]])
    for number, victim in enumerate(few):
        expected, _ = train_by_hand(DATA, victim)
        for of_scale in states:
            assert_states_equal(of_scale[number], expected, tolerance=1e-9)


def test_a_victim_may_train_on_private_rows_alone() -> None:
    private = random_rows(DATA, 12, seed=3)
    recipe = Recipe("lr", SGD(0.3), batch_size=5, epochs=2)
    victim = Victim(recipe, 2, private=private, removed=torch.arange(len(DATA.train)))
    [result] = train_victims(DATA, [victim], dtype=torch.float64)
    state, _ = train_by_hand(DATA, victim)
    assert_states_equal(result.last, state, tolerance=1e-10)
