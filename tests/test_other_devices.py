"""Another device gives the numbers of the CPU: a GPU where there is one, and always one that pretends."""

from collections import Counter
from collections.abc import Iterator

import pytest
import torch

from gradshape import models
from gradshape.attacks import Attack, TargetedAttack
from gradshape.clipping import per_sample
from gradshape.data import Dataset
from gradshape.shaping import AdaptiveNoise, Clip, Noise, Normalize, QuantileClip, Shaper
from gradshape.training import SGD, Adam, Fit, Recipe, Victim, train_victims
from tests.attacks.attacks import aim, pairs
from tests.clipping.naive import PER_SAMPLE_LOSS, filled, labels, randn
from tests.pretend import NAME, pretend_device
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
        pytest.param(optimizer, model, shaper, id=f"{kind}-{model}-{shaper}")
        for kind, optimizer in (("sgd", SGD(0.1)), ("adam", Adam(0.01)))
        for model in SHAPES
        for shaper in SHAPERS
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


@pytest.mark.parametrize(("attack", "dataset"), pairs())
def test_poison_is_that_of_the_cpu(attack: Attack, dataset: Dataset, device: str) -> None:
    recipe = Fit("ridge") if dataset.regression else Recipe("lr", SGD(0.1), batch_size=20, epochs=1)
    aimed = aim(attack, dataset, targets=2 if isinstance(attack, TargetedAttack) else 1)
    on_cpu, there = (attack(dataset, seed=1, recipe=recipe, device=where, **aimed) for where in ("cpu", device))
    assert there.x.device.type == "cpu"
    for name in ("x", "y", "source", "replaced"):
        torch.testing.assert_close(getattr(there, name), getattr(on_cpu, name), rtol=1e-6, atol=1e-6)
    assert (there.aims is None) == (on_cpu.aims is None)
    if there.aims is not None and on_cpu.aims is not None:
        for name in ("target", "base", "distance"):
            torch.testing.assert_close(getattr(there.aims, name), getattr(on_cpu.aims, name), rtol=1e-5, atol=1e-5)
    assert there.notes == pytest.approx(dict(on_cpu.notes), rel=1e-6)
