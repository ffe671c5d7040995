"""Another device gives the numbers of the CPU: a GPU where there is one, and always one that pretends."""

from collections import Counter
from collections.abc import Iterator

import pytest
import torch

from gradshape import models
from gradshape.attacks import Attack
from gradshape.clipping import per_sample
from gradshape.data import Dataset
from gradshape.defenses import GradientShaping
from gradshape.shaping import AdaptiveNoise, Clip, Noise, Normalize, QuantileClip, Shaper
from gradshape.testing import Check, attack_checks, defense_checks, family_checks, shaper_checks
from gradshape.training import SGD, Adam, AnyRecipe, Family, Recipe, Victim, train_victims
from tests.attacks.attacks import ATTACKS
from tests.clipping.naive import PER_SAMPLE_LOSS, filled, labels, randn
from tests.pretend import NAME, pretend_device
from tests.shaping.parts import SHAPERS as ALL_SHAPERS
from tests.testing.test_family import OURS as FAMILIES
from tests.training.samples import blobs, random_rows

SHAPERS = {
    "vanilla": Shaper(),
    "clip": Shaper((Clip(0.3),)),
    "clip-noise": Clip(0.5) | Noise(0.1),
    "per-layer": Shaper((Clip(0.3, per_layer=True),)),
    "normalize": Shaper((Normalize(),)),
    "quantile": QuantileClip(0.5) | Noise(0.1),
    "adaptive": Clip(0.5) | AdaptiveNoise(0.1),
}
SHAPES = {"lr": (5,), "mlp1": (5,), "cnn": (1, 6, 6)}
each_training = pytest.mark.parametrize(
    ("optimizer", "model", "shaper"),
    [
        # Every two of an optimizer, a model and a shaper meet.
        pytest.param(optimizer, model, shaper, id=f"{kind}-{model}-{shaper}")
        for i, model in enumerate(SHAPES)
        for j, shaper in enumerate(SHAPERS)
        for kind, optimizer in [(("sgd", SGD(0.1)), ("adam", Adam(0.01)))[(i + j) % 2]]
    ],
)


@pytest.fixture(
    params=[
        NAME,
        pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")),
    ]
)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == NAME:
        with pretend_device():
            yield NAME
    else:
        yield request.param


@pytest.mark.parametrize("name", models.names())
def test_per_sample_gradients_are_those_of_the_cpu(name: str, device: str) -> None:
    model = filled(models.build(name, (3, 8, 6), 4)).eval()
    x, y, weights = randn(5, 3, 8, 6), labels(5, 4), randn(5, seed=1)
    expected = per_sample(model, PER_SAMPLE_LOSS, x, y)
    total = expected.weighted_sum(weights)
    got = per_sample(model.to(device), PER_SAMPLE_LOSS, x.to(device), y.to(device))
    torch.testing.assert_close(got.squares.cpu(), expected.squares, rtol=1e-9, atol=1e-12)
    for key, value in got.weighted_sum(weights.to(device)).items():
        torch.testing.assert_close(value.cpu(), total[key].cpu(), rtol=1e-9, atol=1e-12)


@each_training
def test_trainings_are_those_of_the_cpu(optimizer: SGD | Adam, model: str, shaper: str, device: str) -> None:
    data = blobs(shape=SHAPES[model])
    recipe = Recipe(model, optimizer, batch_size=8, epochs=2, shaper=SHAPERS[shaper])
    victims = [Victim(recipe, seed, random_rows(data, seed, seed=seed), order_seed=7) for seed in range(3)]
    on_cpu, there = (train_victims(data, victims, device=where, dtype=torch.float64) for where in ("cpu", device))
    for one, other in zip(on_cpu, there, strict=True):
        assert one.last is not None
        assert other.last is not None
        for key, value in one.last.items():
            torch.testing.assert_close(other.last[key], value, rtol=1e-7, atol=1e-9)


@each_training
def test_no_step_waits_for_the_device(optimizer: SGD | Adam, model: str, shaper: str) -> None:
    data = blobs(shape=SHAPES[model], rows=32)

    def waits(batch_size: int) -> Counter[str]:
        recipe = Recipe(model, optimizer, batch_size=batch_size, epochs=1, shaper=SHAPERS[shaper])
        with pretend_device() as waits:
            train_victims(data, [Victim(recipe, seed, order_seed=7) for seed in range(2)], device=NAME)
        return waits

    assert waits(8) == waits(16)


def test_per_sample_gradients_wait_for_nothing() -> None:
    model = filled(models.build("cnn", (3, 8, 6), 4))
    with pretend_device() as waits:
        model.to(NAME)
        x, y = randn(5, 3, 8, 6).to(NAME), labels(5, 4).to(NAME)
        per_sample(model, PER_SAMPLE_LOSS, x, y)  # Where the batch is, is looked up once.
        waits.clear()
        gradients = per_sample(model, PER_SAMPLE_LOSS, x, y)
        gradients.weighted_sum(gradients.norms)
        assert not waits


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label)
def test_poison_is_that_of_the_cpu(attack: Attack, device: str) -> None:
    gives_the_same_on_the_device(attack_checks(attack, device=device))


@pytest.mark.parametrize("shaper", ALL_SHAPERS, ids=lambda shaper: shaper.label or "none")
def test_weights_are_those_of_the_cpu(shaper: Shaper, device: str) -> None:
    gives_the_same_on_the_device(shaper_checks(shaper, device=device))


@pytest.mark.parametrize(
    ("family", "recipe", "data"),
    [pytest.param(*ours, id=f"{type(ours[0]).__name__}-{ours[1].model}") for ours in FAMILIES],
)
def test_families_train_as_on_the_cpu(family: Family, recipe: AnyRecipe, data: Dataset, device: str) -> None:
    gives_the_same_on_the_device(family_checks(family, recipe, dataset=data, device=device))


@pytest.mark.parametrize("shaper", [Clip(0.3), QuantileClip(0.5) | Noise(0.1)], ids=lambda shaper: shaper.label)
def test_victims_under_a_defense_are_those_of_the_cpu(shaper: Shaper | Clip, device: str) -> None:
    gives_the_same_on_the_device(defense_checks(GradientShaping(shaper), device=device))


def gives_the_same_on_the_device(checks: list[Check]) -> None:
    (check,) = (check for check in checks if check.promise == "gives-the-same-on-the-device")
    check()
