"""Small data, victims of every kind, and training as one writes it by hand: what stacks have to agree with."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradshape import models
from gradshape.data import Dataset, Split
from gradshape.shaping import AdaptiveNoise, Clip, Noise, Normalize, QuantileClip, Reweight, Shaper, Statistic
from gradshape.testing._datasets import blobs as blobs
from gradshape.training import SGD, Adam, Optimizer, Recipe, Sampling, State, TrainingResult, Victim
from gradshape.training._noise import NoiseBlocks
from gradshape.training._rows.order import CommonRows, PoissonRows
from gradshape.training.workload import initial_model
from tests.training.by_hand import ShapingByHand


def random_rows(dataset: Dataset, count: int, *, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, *dataset.input_shape, generator=generator)
    return Split(x, torch.randint(dataset.num_classes, (count,), generator=generator))


@dataclass(frozen=True)
class Damp:
    """A part of a user's own: ``w = 1 / (1 + strength |g|)``."""

    strength: float

    @property
    def label(self) -> str:
        return f"d{self.strength:g}"

    def weights(self, norms: Tensor) -> Tensor:
        return 1 / (1 + self.strength * norms)


@dataclass(frozen=True)
class ClipToMedian:
    """A part whose weights depend on all norms of the batch."""

    @property
    def label(self) -> str:
        return "median"

    def weights(self, norms: Tensor) -> Tensor:
        return (norms.median(dim=-1, keepdim=True).values / norms).clamp(max=1)


VANILLA = Shaper()
SHAPERS = {
    "vanilla": VANILLA,
    "clip": Shaper((Clip(0.3),)),
    "noise": Shaper((Noise(0.2),)),
    "clip-noise": Clip(0.5) | Noise(0.1),
    "two-clips": Clip(1.0) | Clip(0.2),
    "custom": Shaper((Damp(0.7), Noise(0.05))),
    "median": Shaper((ClipToMedian(),)),
}
# More parts, and parts in other company: what works for some of them works for all of them.
MORE_SHAPERS = {
    "layers": Shaper((Clip(0.3, per_layer=True),)),
    "layers-clip": Clip(0.6, per_layer=True) | Clip(0.3) | Noise(0.05),
    "clip-layers": Clip(0.6) | Clip(0.4, per_layer=True),
    "normalize": Shaper((Normalize(0.5, stabilizer=0.1),)),
    "quantile": Shaper((QuantileClip(0.6, start=0.5, rate=0.3),)),
    "layers-quantile-median": Clip(0.8, per_layer=True) | QuantileClip(0.4) | Shaper((ClipToMedian(),)),
    "adaptive": Shaper((AdaptiveNoise(0.3),)),
    "clip-adaptive": Clip(0.5) | AdaptiveNoise(0.5, low=0.01, high=0.2, start=0.1),
    "adaptive-median": Clip(0.6, per_layer=True) | AdaptiveNoise(0.2, max_norm=0.5, statistic=Statistic.MEDIAN),
    "three-noises": QuantileClip(0.5) | Noise(0.05) | AdaptiveNoise(0.1) | AdaptiveNoise(0.2),
    "reweight": Reweight(lambda norms: norms / (1 + norms.square()), "cauchy", samplewise=True) | Clip(0.4),
}
ALL_SHAPERS = SHAPERS | MORE_SHAPERS
OPTIMIZERS: dict[str, Optimizer] = {"sgd": SGD(0.2), "momentum": SGD(0.1, momentum=0.9), "adam": Adam(0.02)}


def many_victims(
    dataset: Dataset, model: str, optimizer: Optimizer, *, shapers: Mapping[str, Shaper] = SHAPERS
) -> list[Victim]:
    """Every shaper with private rows, removed rows, watched rows and initial states, in several kinds of stack."""
    recipe = Recipe(model, optimizer, batch_size=8, epochs=3)
    base = dict(models.build(model, dataset.input_shape, dataset.num_classes).named_parameters())
    trained = {name: parameter.detach() * 0.5 for name, parameter in base.items()}
    private = random_rows(dataset, 9, seed=5)
    removed = torch.tensor([3, 40, 0])
    victims = []
    for k, shaper in enumerate(shapers.values()):
        shaped = recipe.with_shaper(shaper)
        own = random_rows(dataset, k % 4, seed=k)
        watch = None if k == 2 else random_rows(dataset, 1 + k % 3, seed=k).x
        victims += [
            # Few private rows each and a common shuffle: windows of one sequence.
            Victim(shaped, 10 + k, private=own, order_seed=7, watch=watch),
            Victim(shaped, 20 + k, private=own, order_seed=7, removed=removed, initial=trained),
            # The same rows for all.
            Victim(shaped, 3, private=private, watch=watch),
            Victim(shaped, 3, initial=trained if k % 2 else None),
            # More private rows than a batch has.
            Victim(shaped, 4, private=private, order_seed=7, removed=torch.empty(0, dtype=torch.int64)),
        ]
    return victims


def common_rows(dataset: Dataset, victim: Victim) -> CommonRows:
    """The victim's order; its private rows follow the train rows in the table."""
    removed = set() if victim.removed is None else set(victim.removed.tolist())
    rows = len(dataset.train)
    kind = PoissonRows if victim.descent.sampling is Sampling.POISSON else CommonRows
    return kind(
        kept=torch.tensor([row for row in range(rows) if row not in removed], dtype=torch.int64),
        private=torch.arange(rows, rows + victim.num_private),
        train_rows=rows,
        shuffle_seed=victim.shuffle_seed,
        seed=victim.seed,
        batch_size=victim.descent.batch_size,
    )


# Epoch, ids of a step's rows, and for each of these its gradients by parameter and its weights by parameter.
Told = Callable[[int, list[int], list[tuple[Tensor, ...]], list[list[float]]], None]


def train_by_hand(dataset: Dataset, victim: Victim, told: Told | None = None) -> tuple[State, list[float]]:
    """One training in float64: ``torch.optim``, one backward pass a sample. Last parameters and test accuracies."""
    recipe, shaper = victim.descent, victim.descent.shaper
    model = initial_model(dataset, victim).double()
    parameters = list(model.parameters())
    optimizer = _torch_optimizer(recipe.optimizer, parameters)
    x, y = dataset.train.x, dataset.train.y
    if victim.private is not None:
        x, y = torch.cat([x, victim.private.x]), torch.cat([y, victim.private.y])
    order = common_rows(dataset, victim)
    shaping = ShapingByHand(shaper)
    layers = [name.rpartition(".")[0] for name, _ in model.named_parameters()]
    layer_of = [list(dict.fromkeys(layers)).index(layer) for layer in layers]
    noise = _noise(victim, sum(p.numel() for p in parameters), order.rows_per_step)
    accuracies = []
    for epoch in range(recipe.epochs):
        for step in order.epoch(epoch):
            ids = step.shared.tolist()
            samples = [_gradient(model, x[row : row + 1].double(), y[row : row + 1]) for row in ids]
            weights = shaping.step([_layer_norms(sample, layer_of) for sample in samples])
            if told is not None:
                told(epoch, ids, samples, [[weight[layer] for layer in layer_of] for weight in weights])
            std = shaping.noise_std() / order.rows_per_step if shaper.adaptive_noises else 1.0
            std = math.hypot(std, shaper.noise_std / order.rows_per_step) if shaper.adaptive_noises else std
            drawn = next(noise).split([p.numel() for p in parameters])
            for k, (parameter, part) in enumerate(zip(parameters, drawn, strict=True)):
                total = torch.zeros_like(parameter)
                for sample, weight in zip(samples, weights, strict=True):
                    total += weight[layer_of[k]] * sample[k]
                parameter.grad = total / order.rows_per_step + std * part.view_as(parameter)
            optimizer.step()
        shaping.end_epoch()
        with torch.no_grad():
            hits = model(dataset.test.x.double()).argmax(1) == dataset.test.y
        accuracies.append(float(hits.double().mean()))
    return {name: p.detach() for name, p in model.named_parameters()}, accuracies


def _layer_norms(sample: Sequence[Tensor], layer_of: Sequence[int]) -> list[float]:
    squares = [0.0] * (max(layer_of) + 1)
    for layer, g in zip(layer_of, sample, strict=True):
        squares[layer] += float(g.square().sum())
    return [math.sqrt(square) for square in squares]


def _gradient(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(nn.functional.cross_entropy(model(x), y), list(model.parameters()))


def _torch_optimizer(optimizer: Optimizer, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    if isinstance(optimizer, SGD):
        return torch.optim.SGD(parameters, lr=optimizer.lr, momentum=optimizer.momentum)
    betas = (optimizer.beta1, optimizer.beta2)
    return torch.optim.Adam(parameters, lr=optimizer.lr, betas=betas, eps=optimizer.eps)


def _noise(victim: Victim, size: int, rows_per_step: int) -> Iterator[Tensor]:
    blocks = NoiseBlocks([victim.descent.shaper], [victim.seed], size)
    while True:
        yield from blocks.draw(divisor=rows_per_step, like=torch.empty(0, dtype=torch.float64))[:, 0]


def assert_states_equal(one: State | None, other: State | None, *, tolerance: float) -> None:
    assert one is not None
    assert other is not None
    assert list(one) == list(other)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=tolerance, atol=tolerance)


def assert_results_equal(ones: Sequence[TrainingResult], others: Sequence[TrainingResult], *, tolerance: float) -> None:
    assert len(ones) == len(others)
    for one, other in zip(ones, others, strict=True):
        assert one.accuracy.tolist() == other.accuracy.tolist()
        assert (one.predictions is None) == (other.predictions is None)
        if one.predictions is not None and other.predictions is not None:
            assert torch.equal(one.predictions, other.predictions)
        assert one.diverged == other.diverged
        assert_states_equal(one.last, other.last, tolerance=tolerance)
        assert_states_equal(one.best, other.best, tolerance=tolerance)
