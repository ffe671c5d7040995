"""A GPU gives the numbers of the CPU. Skipped where there is none."""

import pytest
import torch

from gradshape import models
from gradshape.clipping import per_sample
from gradshape.shaping import AdaptiveNoise, Clip, Noise, Normalize, QuantileClip, Shaper
from gradshape.training import SGD, Adam, Recipe, Victim, train_victims
from tests.clipping.naive import PER_SAMPLE_LOSS, filled, labels, randn
from tests.training.samples import blobs, random_rows

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

SHAPERS = {
    "vanilla": Shaper(),
    "clip": Shaper((Clip(0.3),)),
    "clip-noise": Clip(0.5) | Noise(0.1),
    "per-layer": Shaper((Clip(0.3, per_layer=True),)),
    "normalize": Shaper((Normalize(),)),
    "quantile": QuantileClip(0.5) | Noise(0.1),
    "adaptive": Clip(0.5) | AdaptiveNoise(0.1),
}


@pytest.mark.parametrize("name", models.names())
def test_per_sample_gradients_are_those_of_the_cpu(name: str) -> None:
    model = filled(models.build(name, (3, 8, 6), 4)).eval()
    x, y, weights = randn(5, 3, 8, 6), labels(5, 4), randn(5, seed=1)
    expected = per_sample(model, PER_SAMPLE_LOSS, x, y)
    total = expected.weighted_sum(weights)
    got = per_sample(model.cuda(), PER_SAMPLE_LOSS, x.cuda(), y.cuda())
    torch.testing.assert_close(got.squares.cpu(), expected.squares, rtol=1e-9, atol=1e-12)
    for key, value in got.weighted_sum(weights.cuda()).items():
        torch.testing.assert_close(value.cpu(), total[key].cpu(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shaper", SHAPERS)
@pytest.mark.parametrize(
    ("model", "shape"), [("lr", (5,)), ("mlp1", (5,)), ("cnn", (1, 6, 6))], ids=["lr", "mlp", "cnn"]
)
@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam(0.01)], ids=["sgd", "adam"])
def test_trainings_are_those_of_the_cpu(optimizer: SGD | Adam, model: str, shape: tuple[int, ...], shaper: str) -> None:
    data = blobs(shape=shape)
    recipe = Recipe(model, optimizer, batch_size=8, epochs=2, shaper=SHAPERS[shaper])
    victims = [Victim(recipe, seed, random_rows(data, seed, seed=seed), order_seed=7) for seed in range(3)]
    on_cpu, on_gpu = (train_victims(data, victims, device=where, dtype=torch.float64) for where in ("cpu", "cuda"))
    for one, other in zip(on_cpu, on_gpu, strict=True):
        assert one.last is not None
        assert other.last is not None
        for key, value in one.last.items():
            torch.testing.assert_close(other.last[key], value, rtol=1e-7, atol=1e-9)


def test_a_step_waits_for_nothing() -> None:
    model = filled(models.build("cnn", (3, 8, 6), 4)).cuda()
    x, y = randn(5, 3, 8, 6).cuda(), labels(5, 4).cuda()
    per_sample(model, PER_SAMPLE_LOSS, x, y)  # Where the batch is, is looked up once.
    torch.cuda.set_sync_debug_mode("error")
    try:
        gradients = per_sample(model, PER_SAMPLE_LOSS, x, y)
        gradients.weighted_sum(gradients.norms)
    finally:
        torch.cuda.set_sync_debug_mode("default")
