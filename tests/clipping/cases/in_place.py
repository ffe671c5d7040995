"""Models that change inputs and outputs of layers in place."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.clipping.architectures import (
    CLASSES,
    ROWS,
    Attention,
    Case,
    Logits,
    Residual,
    Scale,
)
from tests.clipping.cases.whole import (
    LENGTH,
    ids,
    of_layers,
    square,
)
from tests.clipping.naive import (
    labels,
)


class Shift(nn.Module):
    """Adds its parameter in place."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x.add_(self.shift)


class Plus(Shift):
    """Leaves its input alone, and autograd does not keep it."""

    def forward(self, x: Tensor) -> Tensor:
        return x + self.shift


def frozen_weight() -> nn.Linear:
    """Whose input autograd does not keep."""
    layer = nn.Linear(4, 4)
    layer.weight.requires_grad_(False)
    return layer


def overwrites(change: Callable[[Tensor], object], *, view: bool = False) -> Callable[[Any, Tensor], Tensor]:
    """Changes the input of a layer in place once it is called."""

    def run(m: Any, x: Tensor) -> Tensor:
        hidden: Tensor = m.first(x)
        out: Tensor = m.layer(hidden)
        change(hidden[:, 1:] if view else hidden)
        return out + hidden

    return run


def changes(change: Callable[[Tensor], object]) -> Callable[[Any, Tensor], Tensor]:
    """Changes the output of a layer in place, which is then the input of another."""

    def run(m: Any, x: Tensor) -> Tensor:
        hidden: Tensor = m.layer(x)
        change(hidden)
        out: Tensor = m.last(hidden)
        return out

    return run


def one(tensor: Tensor) -> object:
    return tensor.add_(1)


INPLACE: dict[str, Case] = {
    "input-of-a-bias": of_layers(overwrites(one), first=square(), layer=frozen_weight),
    "input-of-a-bias-by-a-view": of_layers(overwrites(one, view=True), first=square(), layer=frozen_weight),
    "input-of-a-module-without-rule": of_layers(overwrites(one), first=square(), layer=partial(Plus, 4)),
    "input-of-a-module-without-rule-by-a-view": of_layers(
        overwrites(one, view=True), first=square(), layer=partial(Plus, 4)
    ),
    "input-within-a-module": of_layers(lambda m, x: m.layer(m.first(x)), first=square(), layer=partial(Shift, 4)),
    "input-within-a-module-twice": of_layers(
        lambda m, x: m.other(m.layer(m.first(x))), first=square(), layer=partial(Shift, 4), other=partial(Shift, 1)
    ),
    "output-relu": of_layers(changes(torch.relu_), layer=square(), last=square()),
    "output-of-convolution": of_layers(
        changes(torch.relu_), layer=partial(nn.Conv1d, LENGTH, LENGTH, 1), last=square()
    ),
    "output-of-norm": of_layers(changes(torch.relu_), layer=partial(nn.LayerNorm, 4), last=square()),
    "output-of-bare-parameter": of_layers(changes(torch.relu_), layer=partial(Scale, 4), last=square()),
    "output-of-attention": of_layers(changes(torch.relu_), layer=partial(Attention, batch_first=True), last=square()),
    "output-several-times": of_layers(
        changes(lambda out: out.mul_(3).add_(1).relu_()), layer=square(), last=partial(nn.LayerNorm, 4)
    ),
    "output-part": of_layers(changes(lambda out: out[:, 0].relu_()), layer=square(), last=square()),
    "output-part-zeroed": of_layers(changes(lambda out: out[:, 1:].zero_()), layer=square(), last=square()),
    "output-assigned": of_layers(
        changes(lambda out: out.__setitem__((slice(None), 0), out[:, 1].clone())), layer=square(), last=square()
    ),
    "output-by-a-view": of_layers(
        changes(lambda out: out.flatten().mul_(2)), layer=partial(nn.Conv1d, LENGTH, 2, 1), last=square()
    ),
    "output-masked": of_layers(
        changes(lambda out: out.masked_fill_(torch.eye(LENGTH, 4).bool(), 0.5)), layer=square(), last=square()
    ),
    "output-of-embedding": Case(
        lambda: nn.Sequential(nn.Embedding(9, 4), nn.ReLU(inplace=True), nn.Linear(4, 4), Shift(4), Logits()),
        ids(ROWS, 4),
        labels(ROWS, CLASSES),
    ),
    "residual": of_layers(
        lambda m, x: m.body(m.first(x)), first=square(), body=lambda: Residual(nn.Linear(4, 4), inplace=True)
    ),
    "first-layer": of_layers(lambda m, x: m.l(F.relu(x, inplace=True)), l=square()),
}
