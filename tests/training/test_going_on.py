"""Trainings that go on from another one, with what its optimizer remembers, and scoring at the end only."""

from dataclasses import replace

import pytest
import torch

from gradshape.data import Dataset
from gradshape.shaping import Clip, Shaper
from gradshape.training import SGD, Adam, Optimizer, OptimizerState, Recipe, Scoring, Victim, train_victims
from tests.training.samples import assert_results_equal, assert_states_equal, blobs, random_rows

THREE, TWO = blobs(), blobs(classes=2)
# All rows are in every batch, so that the order, which begins anew with every training, changes nothing but rounding.
EVERY_ROW = 10_000
OPTIMIZERS = [SGD(0.3), SGD(0.3, momentum=0.9), Adam(0.05)]
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["sgd", "momentum", "adam"])
ZEROS = {"head.weight": torch.zeros(3, 5), "head.bias": torch.zeros(3)}
MOMENTS = (ZEROS, ZEROS)
either_way = pytest.mark.parametrize("stacked", [True, False], ids=["stacked", "alone"])


def recipe(optimizer: Optimizer, epochs: int, *, model: str = "lr", shaper: Shaper | None = None) -> Recipe:
    return Recipe(model, optimizer, batch_size=EVERY_ROW, epochs=epochs, shaper=shaper or Shaper())


@pytest.mark.parametrize("data", [THREE, TWO], ids=["three-classes", "two-classes"])
@pytest.mark.parametrize("model", ["lr", "mlp1"])
@each_optimizer
@either_way
def test_two_trainings_with_one_memory_are_one_long_training(
    data: Dataset, model: str, optimizer: Optimizer, stacked: bool
) -> None:
    long = Victim(recipe(optimizer, 5, model=model, shaper=Shaper((Clip(0.5),))), 3)
    short = replace(long, recipe=replace(long.descent, epochs=2), keep_optimizer=True)
    [whole] = train_victims(data, [long], dtype=torch.float64, stacked=stacked)
    [first] = train_victims(data, [short], dtype=torch.float64, stacked=stacked)
    assert first.last_optimizer is not None
    assert first.last_optimizer.steps == 2
    rest = replace(
        long,
        recipe=replace(long.descent, epochs=3),
        initial=first.last,
        initial_optimizer=first.last_optimizer,
    )
    [second] = train_victims(data, [rest], dtype=torch.float64, stacked=stacked)
    assert second.last is not None
    assert whole.last is not None
    # Models are built in float32, so initial parameters are rounded to it.
    assert_states_equal(second.last, whole.last, tolerance=1e-6)
    assert torch.equal(torch.cat([first.accuracy, second.accuracy]), whole.accuracy)


@pytest.mark.parametrize("optimizer", OPTIMIZERS[1:], ids=["momentum", "adam"])
@either_way
def test_without_its_memory_the_second_training_is_another(optimizer: Optimizer, stacked: bool) -> None:
    [first] = train_victims(THREE, [Victim(recipe(optimizer, 2), 3, keep_optimizer=True)], stacked=stacked)
    again = Victim(recipe(optimizer, 1), 3, initial=first.last)
    remembering = replace(again, initial_optimizer=first.last_optimizer)
    fresh, warm = train_victims(THREE, [again, remembering], stacked=stacked)
    assert fresh.last is not None
    assert warm.last is not None
    assert not torch.allclose(fresh.last["head.weight"], warm.last["head.weight"])


@each_optimizer
def test_a_stack_remembers_what_each_victim_alone_does(optimizer: Optimizer) -> None:
    victims = [
        Victim(Recipe("mlp1", optimizer, batch_size=8, epochs=4), seed, keep_optimizer=True) for seed in range(3)
    ]
    together = train_victims(THREE, victims, dtype=torch.float64)
    alone = train_victims(THREE, victims, dtype=torch.float64, stacked=False)
    for one, other in zip(together, alone, strict=True):
        for mine, theirs in ((one.last_optimizer, other.last_optimizer), (one.best_optimizer, other.best_optimizer)):
            assert mine is not None
            assert theirs is not None
            assert (mine.steps, len(mine.slots)) == (theirs.steps, len(theirs.slots)) == (mine.steps, optimizer.slots)
            for slot, expected in zip(mine.slots, theirs.slots, strict=True):
                assert_states_equal(slot, expected, tolerance=1e-9)


def test_the_best_epochs_memory_has_as_many_steps_as_were_taken_by_then() -> None:
    victims = [
        Victim(Recipe("lr", Adam(0.05), batch_size=8, epochs=5), seed, order_seed=1, keep_optimizer=True)
        for seed in range(4)
    ]
    for result in train_victims(THREE, victims):
        assert result.last_optimizer is not None
        assert result.best_optimizer is not None
        steps = result.last_optimizer.steps // 5
        assert result.best_optimizer.steps == steps * result.best_epoch


@pytest.mark.parametrize("scoring", list(Scoring))
def test_what_leaves_a_stack_takes_its_own_memory_along(scoring: Scoring) -> None:
    plain = [
        Victim(
            Recipe("mlp1", Adam(0.03), batch_size=8, epochs=6),
            k,
            random_rows(THREE, 2, seed=k),
            order_seed=5,
            keep_optimizer=True,
        )
        for k in range(5)
    ]
    watch = random_rows(THREE, 1, seed=9).x
    victims = [replace(v, watch=watch, intended=torch.tensor([k % 3]), scoring=scoring) for k, v in enumerate(plain)]
    together = train_victims(THREE, victims, dtype=torch.float64)
    for victim, result in zip(victims, together, strict=True):
        [alone] = train_victims(THREE, [victim], dtype=torch.float64, stacked=False)
        assert_results_equal([result], [alone], tolerance=1e-9)
        assert result.best_optimizer is not None
        assert alone.best_optimizer is not None
        assert result.best_optimizer.steps == alone.best_optimizer.steps
        for slot, expected in zip(result.best_optimizer.slots, alone.best_optimizer.slots, strict=True):
            assert_states_equal(slot, expected, tolerance=1e-9)


@pytest.mark.parametrize("model", ["lr", "mlp1"])
@either_way
def test_scored_at_the_end_a_victim_is_trained_alike_and_has_its_last_accuracy(model: str, stacked: bool) -> None:
    every = [
        Victim(
            Recipe(model, Adam(0.03), batch_size=8, epochs=6),
            k,
            random_rows(THREE, 1 + k % 2, seed=k),
            order_seed=5,
            watch=random_rows(THREE, 1, seed=50 + k).x,
            intended=torch.tensor([k % 3]) if k % 2 else None,
        )
        for k in range(6)
    ]
    at_end = [replace(victim, scoring=Scoring.AT_END) for victim in every]
    pairs = zip(train_victims(THREE, every), train_victims(THREE, at_end, stacked=stacked), strict=True)
    for full, short in pairs:
        assert full.predictions is not None
        assert short.predictions is not None
        assert torch.equal(short.predictions, full.predictions)
        assert short.accuracy.tolist() == full.accuracy[-1:].tolist()
        assert short.last is not None
        assert full.last is not None
        assert_states_equal(short.last, full.last, tolerance=1e-4)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (OptimizerState(3, ({},)), "has 1 moments after 3 steps: expected 2, those of Adam"),
        (OptimizerState(-1, ()), "has steps=-1: expected an integer of at least 0"),
        (OptimizerState(1.5, MOMENTS), "has steps=1.5: expected an integer"),  # type: ignore[arg-type]
        (OptimizerState(1, ({"a": torch.zeros(1)}, {"a": torch.zeros(1)})), r"has moments of {'a': \(1,\)}: expected"),
        (OptimizerState(1, (MOMENTS[0], {"head.bias": torch.zeros(3)})), r"has moments of {'head.bias': \(3,\)}: exp"),
        (
            OptimizerState(1, ({**MOMENTS[0], "head.bias": torch.full((3,), torch.nan)}, MOMENTS[1])),
            "moment 0 of 'head.bias': expected finite numbers$",
        ),
        (
            OptimizerState(1, (MOMENTS[0], {**MOMENTS[1], "head.weight": torch.full((3, 5), -0.1)})),
            "moment 1 of 'head.weight': expected finite numbers of at least 0",
        ),
    ],
)
def test_a_memory_that_does_not_fit_is_refused(state: OptimizerState, message: str) -> None:
    [first] = train_victims(THREE, [Victim(recipe(Adam(0.1), 1), 0)])
    with pytest.raises(ValueError, match=message):
        train_victims(THREE, [Victim(recipe(Adam(0.1), 1), 0, initial=first.last, initial_optimizer=state)])


def test_a_memory_without_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="without initial parameters: expected both or neither"):
        train_victims(THREE, [Victim(recipe(SGD(0.1), 1), 0, initial_optimizer=OptimizerState(0))])
