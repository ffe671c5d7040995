"""Three ways to train the model, each with one thing that keeps wrong labels from spoiling it.

Each has a task of its own in tests/test_poisoning.py. In one function they would cover for each other, and the gate
would not see that one of them is gone.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gradshape.data import Split
from gradshape.shaping import Clip, ShapedLoss
from pumps.readings import HIGHEST, LOWEST

_MIDDLE = torch.from_numpy((LOWEST + HIGHEST) / 2)
_WIDTH = torch.from_numpy((HIGHEST - LOWEST) * 0.06)
Scores = Callable[[Tensor], Tensor]


def clipped(rows: Split, seed: int) -> Scores:
    """Train on readings ``rows.x`` and labels ``rows.y`` so that no row pulls hard; return what scores each class."""
    return _fitted(
        _scaled(rows.x),
        rows.y,
        seed,
        epochs=20,
        shaper=Clip(0.1),
    )


def filtered(rows: Split, seed: int) -> Scores:
    """Train on the rows whose label their neighbours have."""
    x, y = _scaled(rows.x), rows.y
    x, y = without_odd_labels(x, y)
    return _fitted(x, y, seed, epochs=20)


def brief(rows: Split, seed: int) -> Scores:
    """Train for few steps, each on all rows: what is wrong of single rows is learned late."""
    return _fitted(_scaled(rows.x), rows.y, seed, epochs=10, batch=len(rows.y))


def without_odd_labels(x: Tensor, y: Tensor, *, neighbors: int = 15) -> tuple[Tensor, Tensor]:
    """Return the rows with a label that most of the nearest other rows have."""
    nearest = torch.cdist(x, x).topk(neighbors + 1, largest=False).indices[:, 1:]
    kept = (y[nearest] == y[:, None]).float().mean(1) > 0.5
    return x[kept], y[kept]


def _fitted(x: Tensor, y: Tensor, seed: int, *, epochs: int, batch: int = 32, shaper: Clip | None = None) -> Scores:
    generator = torch.Generator().manual_seed(seed)
    layers = nn.Linear(8, 128), nn.Linear(128, 2)
    for layer in layers:
        for weights in layer.parameters():
            nn.init.uniform_(weights, -(layer.in_features**-0.5), layer.in_features**-0.5, generator=generator)
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    criterion: Callable[[Tensor, Tensor], Tensor] = nn.CrossEntropyLoss()
    if shaper is not None:
        criterion = ShapedLoss(model, optimizer, nn.CrossEntropyLoss(), shaper=shaper)
    for _ in range(epochs):
        for chosen in torch.randperm(len(x), generator=generator).split(batch):
            optimizer.zero_grad()
            criterion(model(x[chosen]), y[chosen]).backward()
            optimizer.step()
    return lambda readings: model(_scaled(readings))


def _scaled(readings: Tensor) -> Tensor:
    return (readings - _MIDDLE) / _WIDTH
