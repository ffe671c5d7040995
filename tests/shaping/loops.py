"""Models and batches for loops whose criterion is wrapped."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.clipping.naive import Gradients, labels, randn
from tests.clipping.test_inputs import Encoder, TwoInputs, tokens

ROWS, CLASSES = 6, 3
Batch = tuple[Any, Tensor]


def lr() -> nn.Module:
    return nn.Linear(4, CLASSES)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, CLASSES))


def cnn() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3, CLASSES))


def rows(seed: int) -> Batch:
    return randn(ROWS, 4, seed=seed), labels(ROWS, CLASSES, seed=seed)


def pictures(seed: int) -> Batch:
    return randn(ROWS, 1, 3, 3, seed=seed), labels(ROWS, CLASSES, seed=seed)


def words(seed: int) -> Batch:
    x = tokens(ROWS)
    return {**x, "input_ids": x["input_ids"].roll(seed, 1) * x["attention_mask"]}, labels(ROWS, CLASSES, seed=seed)


def pairs(seed: int) -> Batch:
    return (randn(ROWS, 1, 5, 5, seed=seed), randn(ROWS, 3, seed=seed)), labels(ROWS, CLASSES, seed=seed)


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Batch]]] = {
    "lr": (lr, rows),
    "mlp": (mlp, rows),
    "cnn": (cnn, pictures),
    "transformer": (Encoder, words),
    "two-inputs": (TwoInputs, pairs),
}
every_model = pytest.mark.parametrize(("build", "batch"), [pytest.param(*m, id=name) for name, m in MODELS.items()])


def call(model: nn.Module, x: Any) -> Any:
    if isinstance(x, dict):
        return model(**x)
    return model(*x) if isinstance(x, tuple) else model(x)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def gradients(model: nn.Module) -> Gradients:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
