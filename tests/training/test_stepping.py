"""Single steps are those of a training."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradshape import models
from gradshape.shaping import Clip, Noise, Shaper
from gradshape.training import SGD, Adam, Recipe, Stepper, Victim, steppers, train_victims
from gradshape.training._architecture import Architecture
from gradshape.training._dense.family import DenseFamily
from gradshape.training.plan import NETWORK_FAMILIES
from tests.training.samples import assert_states_equal, blobs

DATA = blobs(rows=30, test=20)
PICTURES = blobs(rows=30, test=20, shape=(1, 4, 4))


def taken(stacks: list[Stepper], place: int) -> dict[str, Tensor]:
    """The state of the victim at this place of the only stack, or that of a stack of its own."""
    return stacks[0].state(place) if len(stacks) == 1 else stacks[place].state(0)


SHAPERS = {"plain": Shaper(), "clip": Shaper((Clip(0.3),)), "noise": Clip(0.3) | Noise(0.1)}


@pytest.mark.parametrize("shaper", SHAPERS.values(), ids=SHAPERS)
@pytest.mark.parametrize("model", ["lr", "mlp1", "cnn"])
def test_a_step_on_all_rows_is_that_of_a_training(model: str, shaper: Shaper) -> None:
    data = PICTURES if model == "cnn" else DATA
    recipe = Recipe(model, SGD(0.2, momentum=0.5), batch_size=len(data.train), epochs=1, shaper=shaper)
    [first] = train_victims(data, [Victim(recipe, 0, keep_optimizer=True)])
    victims = [Victim(recipe, k, initial=first.last, initial_optimizer=first.last_optimizer) for k in range(2)]
    trained = train_victims(data, victims)
    network = models.build(model, data.input_shape, data.num_classes)
    stacks = steppers(victims, network, data.train.x, data.train.y)
    for stack in stacks:
        stack.step()
    for place, result in enumerate(trained):
        assert result.last is not None
        assert_states_equal(taken(stacks, place), result.last, tolerance=1e-5)


def test_victims_without_a_state_begin_with_the_model() -> None:
    network = nn.Linear(5, 3)
    victim = Victim(Recipe("any", Adam(0.1), batch_size=2, epochs=1), 0)
    [stack] = steppers([victim], network, DATA.train.x, DATA.train.y)
    assert torch.equal(stack.state(0)["weight"], network.weight.detach())


@pytest.mark.parametrize("model", ["mlp1", "cnn"])
def test_victims_with_noise_may_stand_anywhere(model: str) -> None:
    data = PICTURES if model == "cnn" else DATA
    shapers = [SHAPERS["clip"], SHAPERS["noise"], SHAPERS["clip"], SHAPERS["noise"]]
    recipes = [Recipe(model, SGD(0.2), batch_size=len(data.train), epochs=1, shaper=shaper) for shaper in shapers]
    victims = [Victim(recipe, seed) for seed, recipe in enumerate(recipes)]
    network = models.build(model, data.input_shape, data.num_classes)
    [stack] = steppers(victims, network, data.train.x, data.train.y)
    stack.step()
    for place, victim in enumerate(victims):
        [alone] = steppers([victim], network, data.train.x, data.train.y)
        alone.step()
        assert_states_equal(stack.state(place), alone.state(0), tolerance=1e-6)


def test_the_first_family_that_suits_the_victims_takes_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unlike(DenseFamily):
        def suits(self, architecture: Architecture, recipe: Recipe, rows: int, device: torch.device) -> bool:
            return rows == 5

        def steppers(self, victims: Sequence[Victim], *rest: Any) -> list[Stepper]:
            return super().steppers(victims[:1], *rest)

    monkeypatch.setattr("gradshape.training.stepping.NETWORK_FAMILIES", (Unlike(), *NETWORK_FAMILIES))
    victims = [Victim(Recipe("lr", SGD(0.1), batch_size=2, epochs=1), seed) for seed in range(2)]
    for rows, expected in ((5, 1), (6, 2)):
        [stack] = steppers(victims, models.build("lr", (5,), 3), DATA.train.x[:rows], DATA.train.y[:rows])
        with pytest.raises(IndexError):
            stack.state(expected)


@pytest.mark.parametrize(("victims", "rows"), [(0, 2), (1, 1)])
def test_too_few_victims_or_rows_are_refused(victims: int, rows: int) -> None:
    victim = Victim(Recipe("lr", SGD(0.1), batch_size=2, epochs=1), 0)
    with pytest.raises(ValueError, match="expected at least 1 victim and 2 rows"):
        steppers([victim] * victims, nn.Linear(5, 3), DATA.train.x[:rows], DATA.train.y[:rows])
