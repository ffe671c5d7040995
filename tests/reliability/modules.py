"""Networks of a user's own that draw random numbers wherever a network can, by name."""

import random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gradshape import models

IN, HIDDEN = 4, 5


class Prototypes(nn.Module):
    """Distances from points that are parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.randn(HIDDEN, IN))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cdist(x, self.at)


class RandomFeatures(nn.Module):
    """A projection that is a buffer; one that no state has, as some layers keep theirs."""

    projection: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("projection", torch.randn(IN, HIDDEN), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cos(x @ self.projection)


class Scaled(nn.Module):
    """Draws its parameter from NumPy and from Python."""

    def __init__(self) -> None:
        super().__init__()
        scale = np.random.normal(size=HIDDEN) + random.random()  # noqa: NPY002
        self.weight = nn.Parameter(torch.from_numpy(scale).float())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class Words(nn.Module):
    """An embedding of values that are cut to words."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(8, HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.words((x * 7).long()).mean(1)
        return found


class Recurrent(nn.Module):
    """Reads a row as a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(1, HIDDEN, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        last: Tensor = self.cell(x.unsqueeze(2))[1][-1]
        return last


class Drops(nn.Module):
    """Known layers with dropout between them that is no module."""

    def __init__(self) -> None:
        super().__init__()
        self.below, self.above = nn.Linear(IN, HIDDEN), nn.Linear(HIDDEN, HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        above: Tensor = self.above(functional.dropout(self.below(x), training=self.training))
        return above


class Skips(Drops):
    """A layer that Python's random numbers leave out."""

    def forward(self, x: Tensor) -> Tensor:
        below: Tensor = self.below(x)
        return below + self.above(below) if random.random() < 0.5 else below


class Shakes(Drops):
    """Noise of NumPy's on every row."""

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.from_numpy(np.random.normal(size=(len(x), HIDDEN)))  # noqa: NPY002
        above: Tensor = self.above(self.below(x) + noise.to(x.dtype))
        return above


class NoisyLinear(nn.Linear):
    """Looks like a layer that every family knows."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input + 0.1 * torch.randn_like(input))


BODIES: dict[str, type[nn.Module]] = {
    "parameter": Prototypes,
    "buffer": RandomFeatures,
    "embedding": Words,
    "recurrent": Recurrent,
    "functional-dropout": Drops,
    "python-random": Skips,
    "numpy-random": Shakes,
}


def _on(*body: nn.Module, classes: int) -> nn.Module:
    return models.Classifier(nn.Sequential(*body), nn.Linear(HIDDEN, classes))


def _of(body: type[nn.Module]) -> models.Builder:
    return lambda shape, classes: _on(body(), classes=classes)


BUILDERS: dict[str, models.Builder] = {
    **{name: _of(body) for name, body in BODIES.items()},
    "drawn-by-numpy": lambda shape, classes: _on(nn.Linear(IN, HIDDEN), Scaled(), classes=classes),
    "dropout": lambda shape, classes: _on(nn.Linear(IN, HIDDEN), nn.Dropout(), classes=classes),
    "noisy-linear": lambda shape, classes: _on(NoisyLinear(IN, HIDDEN), nn.ReLU(), classes=classes),
}
