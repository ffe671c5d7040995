"""Norms and sums belong to one realisation of whatever random numbers a model draws."""

import random
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gradshape.clipping import clipped_gradient, per_sample, weighted_gradient
from tests.clipping.naive import PER_SAMPLE_LOSS, filled, labels, norm, randn

Coin = Callable[[], bool]

COINS: dict[str, Coin] = {
    "python": lambda: random.random() < 0.5,
    "numpy": lambda: bool(np.random.rand() < 0.5),  # noqa: NPY002
    "torch": lambda: bool(torch.rand(()) < 0.5),
}
every_coin = pytest.mark.parametrize("coin", [pytest.param(coin, id=name) for name, coin in COINS.items()])


class Dropped(nn.Module):
    """Drops a layer by the toss of a coin."""

    def __init__(self, coin: Coin, body: nn.Module) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 5), body, nn.Linear(5, 3)
        self.coin = coin

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        out: Tensor = self.c(h + self.b(h) if self.coin() else h)
        return out


def always() -> bool:
    return True


def never() -> bool:
    return False


class Unruly(nn.Module):
    """A layer without a rule."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(5))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


@every_coin
@pytest.mark.parametrize("body", [lambda: nn.Linear(5, 5), Unruly], ids=["with-rule", "without-rule"])
def test_a_dropped_layer_is_dropped_throughout(coin: Coin, body: Callable[[], nn.Module]) -> None:
    x, y = randn(6, 5), labels(6, 3)
    dropped = 0
    for seed in range(12):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        model = filled(Dropped(coin, body()))
        got, _ = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=float("inf"))
        if coin is COINS["torch"] and isinstance(model.b, Unruly):
            continue  # Each row has a toss of its own, as with dropout.
        matching = []
        for model.coin in (always, never):
            loss = PER_SAMPLE_LOSS(model(x), y).mean()
            grads = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
            named = zip(got.values(), model.parameters(), grads, strict=True)
            matching.append(all(torch.allclose(g, torch.zeros_like(p) if e is None else e) for g, p, e in named))
        assert sum(matching) == 1
        dropped += matching[1]
    assert 0 < dropped < 12 or (coin is COINS["torch"])


def alone(row: int, norms: Tensor) -> Tensor:
    """The weights of one row."""
    return torch.eye(len(norms), dtype=norms.dtype)[row]


class Noisy(nn.Module):
    """Adds noise from NumPy, and has a layer that only ``torch.func`` covers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.scale = nn.Linear(5, 5), nn.Parameter(torch.ones(5))

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.from_numpy(np.random.standard_normal(tuple(x.shape)))  # noqa: NPY002
        out: Tensor = self.a(x + noise) * self.scale
        return out


@pytest.mark.parametrize("microbatch", [None, 2])
def test_norms_and_sums_are_of_the_same_noise(microbatch: int | None) -> None:
    model, x, y = filled(Noisy()), randn(4, 5), labels(4, 5)
    for i in range(4):
        gradient, norms = weighted_gradient(model, PER_SAMPLE_LOSS, x, y, partial(alone, i), microbatch=microbatch)
        torch.testing.assert_close(norm(gradient), norms[i])


def test_noise_differs_from_call_to_call() -> None:
    model, x, y = filled(Noisy()), randn(4, 5), labels(4, 5)
    first, second = (per_sample(model, PER_SAMPLE_LOSS, x, y).norms for _ in range(2))
    assert not torch.allclose(first, second)


def test_numbers_of_python_and_numpy_are_left_alone_by_a_model_that_draws_none() -> None:
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = random.random(), np.random.rand()  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    per_sample(filled(Unruly()), PER_SAMPLE_LOSS, randn(4, 5), labels(4, 5))
    assert (random.random(), np.random.rand()) == expected  # noqa: NPY002


class OfItsOwn(nn.Module):
    """Draws from a generator that nobody else knows."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x + torch.randn(x.shape, generator=self.generator, dtype=x.dtype))
        return out


def test_numbers_that_cannot_be_drawn_again_are_fine_in_one_pass() -> None:
    model, x, y = filled(OfItsOwn(nn.Linear(5, 3))), randn(4, 5), labels(4, 3)
    gradients = per_sample(model, PER_SAMPLE_LOSS, x, y)
    for i in range(4):
        only = torch.eye(4, dtype=torch.float64)[i]
        torch.testing.assert_close(norm(gradients.weighted_sum(only)), gradients.norms[i])


def test_numbers_that_cannot_be_drawn_again_are_refused_where_they_have_to_be() -> None:
    layer = nn.Linear(5, 5)
    model = filled(OfItsOwn(nn.Sequential(layer, nn.Tanh(), layer)))
    with pytest.raises(ValueError, match="draw them from torch's generator"):
        per_sample(model, PER_SAMPLE_LOSS, randn(4, 5), labels(4, 5))


def test_dropout_does_not_hide_rows_that_are_mixed() -> None:
    class Centred(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x - x.mean(0)

    model = filled(nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), Centred(), nn.Linear(8, 3)))
    with pytest.raises(ValueError, match="beside other rows"):
        per_sample(model, PER_SAMPLE_LOSS, randn(4, 5), labels(4, 3))


def test_dropout_does_not_hide_rows_in_another_order() -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.drop, self.b = nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.b(self.drop(self.a(x.flip(0))).flip(0))
            return out

    model, x, y = filled(Turned()), randn(4, 5), labels(4, 3)
    for i in range(4):
        gradient, norms = weighted_gradient(model, PER_SAMPLE_LOSS, x, y, partial(alone, i))
        torch.testing.assert_close(norm(gradient), norms[i])
