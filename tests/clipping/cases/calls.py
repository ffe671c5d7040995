"""Layers that are called, subclassed, patched or hooked in unusual ways."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from tests.clipping.architectures import (
    CLASSES,
    Case,
    Scale,
    case,
)
from tests.clipping.cases.whole import LENGTH, of_layers, parameter, square


class Standardised(nn.Conv1d):
    """A subclass with another weight than the one it owns."""

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2), keepdim=True)
        return F.conv1d(input, weight, self.bias)


class Doubling(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


class Biased(nn.LayerNorm):
    """A subclass with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__(4)
        self.extra = nn.Parameter(torch.zeros(4))

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + self.extra


def patched(layer: Any) -> nn.Module:
    inner = layer.forward
    layer.forward = lambda input: 2 * inner(input)
    assert isinstance(layer, nn.Module)
    return layer


def hooked(layer: nn.Module) -> nn.Module:
    layer.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    layer.register_forward_hook(lambda module, args, out: out.mul(3))
    return layer


def with_extra(layer: nn.Module) -> nn.Module:
    """An ordinary layer that somebody gave a parameter."""
    layer.register_parameter("extra", nn.Parameter(torch.zeros(4)))
    return layer


def recomputed(m: Any, x: Tensor) -> Tensor:
    hidden: Any = checkpoint(m.body, m.first(x), use_reentrant=False)
    out: Tensor = m.last(hidden)
    return out


UNUSUAL_CALLS: dict[str, Case] = {
    "by-keyword": of_layers(lambda m, x: m.l(input=x), l=square()),
    "by-keyword-convolution": of_layers(lambda m, x: m.l(input=x), l=partial(nn.Conv1d, LENGTH, 2, 2)),
    "by-forward": of_layers(lambda m, x: m.l.forward(x), l=square()),
    "by-forward-and-call": of_layers(lambda m, x: m.l.forward(m.l(x).tanh()), l=square()),
    "by-forward-without-rule": of_layers(lambda m, x: m.l.forward(x), l=partial(Scale, 4)),
    "subclass-linear": of_layers(lambda m, x: m.l(x), l=partial(Doubling, 4, 4)),
    "subclass-convolution": of_layers(lambda m, x: m.l(x), l=partial(Standardised, LENGTH, 2, 2)),
    "subclass-norm": of_layers(lambda m, x: m.l(x), l=Biased),
    "patched-linear": of_layers(lambda m, x: m.l(x), l=lambda: patched(nn.Linear(4, 4))),
    "patched-norm": of_layers(lambda m, x: m.l(x), l=lambda: patched(nn.LayerNorm(4))),
    "hooked-linear": of_layers(lambda m, x: m.l(x), l=lambda: hooked(nn.Linear(4, 4))),
    "hooked-convolution": of_layers(lambda m, x: m.l(x), l=lambda: hooked(nn.Conv1d(LENGTH, 2, 2))),
    "hooked-without-rule": of_layers(lambda m, x: m.l(x), l=lambda: hooked(Scale(4))),
    "parameter-added-to-a-layer": of_layers(lambda m, x: m.l(x) + m.l.extra, l=lambda: with_extra(nn.Linear(4, 4))),
    "parameter-of-the-model-itself": of_layers(lambda m, x: m.l(x) * m.p, l=square(), p=parameter(4)),
    "parameter-of-a-parent-given-to-a-child": of_layers(lambda m, x: m.l(x * m.p), l=square(), p=parameter(LENGTH, 1)),
    "weight-made-of-parameters": of_layers(lambda m, x: F.linear(x, m.p @ m.q), p=parameter(2, 1), q=parameter(1, 4)),
    "recomputed": of_layers(
        recomputed,
        first=square(),
        body=lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.LayerNorm(4)),
        last=square(),
    ),
    "nested": of_layers(
        lambda m, x: m.l["a"][0](x) + m.l["b"](x),
        l=lambda: nn.ModuleDict({"b": nn.Linear(4, 4), "a": nn.ModuleList([nn.Linear(4, 4)])}),
    ),
    "the-model-is-one-layer": case(lambda: nn.Linear(4, CLASSES), 4),
    "the-model-is-one-norm": case(lambda: nn.LayerNorm(CLASSES), CLASSES),
    "the-model-is-one-bare-parameter": case(lambda: Scale(CLASSES), CLASSES),
}
