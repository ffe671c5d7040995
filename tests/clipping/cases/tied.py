"""Parameters that are used in several places, or nowhere."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.clipping.architectures import (
    CLASSES,
    ROWS,
    Attention,
    Case,
    Logits,
    Scale,
    Twice,
    case,
    log_likelihood,
)
from tests.clipping.cases.whole import LENGTH, SHAPE, WHOLE, Model, ids, of_layers, parameter, square, tied
from tests.clipping.naive import (
    labels,
)

TIED: dict[str, Case] = {
    "weights-of-two-layers": of_layers(lambda m, x: m.pair(x), pair=lambda: tied_pair("weight")),
    "biases-of-two-layers": of_layers(lambda m, x: m.pair(x), pair=lambda: tied_pair("bias")),
    "one-module-under-two-names": case(lambda: one_under_two_names(), *SHAPE),
    "norms": of_layers(
        lambda m, x: m.pair(x),
        pair=lambda: tied(nn.Sequential(nn.LayerNorm(4), nn.LayerNorm(4)), "0.weight", "1.weight"),
    ),
    "norm-scale-is-its-shift": of_layers(lambda m, x: m.norm(x), norm=lambda: tied(nn.LayerNorm(4), "weight", "bias")),
    "convolution-and-its-transpose": of_layers(
        lambda m, x: m.pair(x),
        pair=lambda: tied(
            nn.Sequential(nn.Conv1d(LENGTH, 4, 2), nn.Tanh(), nn.ConvTranspose1d(4, LENGTH, 2)), "0.weight", "2.weight"
        ),
    ),
    "embedding-and-output": WHOLE["language-model"],
    "embedding-and-output-by-function": Case(
        lambda: Model(lambda m, x: F.linear(m.tokens(x).tanh(), m.tokens.weight), tokens=nn.Embedding(9, 4)),
        ids(ROWS, 6),
        ids(ROWS, 7)[:, 1:],
        log_likelihood,
    ),
    "linear-twice": of_layers(lambda m, x: m.layer(x), layer=lambda: Twice(nn.Linear(4, 4))),
    "linear-three-times": of_layers(lambda m, x: m.l(m.l(m.l(x).tanh()).tanh()), l=square()),
    "linear-on-two-shapes": of_layers(lambda m, x: m.l(x).sum(1) + m.l(x[:, 0]), l=square()),
    "linear-on-two-branches": of_layers(lambda m, x: m.l(x) * m.l(x + 1), l=square()),
    "linear-twice-once-in-vain": of_layers(lambda m, x: (m.l(x), m.l(2 * x))[1], l=square()),
    "linear-twice-once-detached": of_layers(lambda m, x: m.l(x) * m.l(2 * x).detach(), l=square()),
    "linear-twice-once-without-gradient": of_layers(lambda m, x: m.l(x) * without_gradient(m.l, x), l=square()),
    "convolution-twice": of_layers(
        lambda m, x: m.layer(x), layer=lambda: Twice(nn.Conv1d(LENGTH, LENGTH, 3, padding=1))
    ),
    "norm-twice": of_layers(lambda m, x: m.layer(x), layer=lambda: Twice(nn.LayerNorm(4))),
    "attention-twice": of_layers(lambda m, x: m.layer(x), layer=lambda: Twice(Attention(batch_first=True))),
    "bare-parameter-twice": of_layers(lambda m, x: m.layer(x), layer=lambda: Twice(Scale(4))),
    "embedding-twice": Case(
        lambda: nn.Sequential(
            Model(lambda m, x: m.e(x[:, 1:]) * m.e(x[:, :-1]), e=nn.Embedding(9, 4, padding_idx=1)), Logits()
        ),
        ids(ROWS, 4),
        labels(ROWS, CLASSES),
    ),
    "layer-and-its-parameter": of_layers(lambda m, x: F.linear(m.l(x).tanh(), m.l.weight), l=square()),
    "parameter-without-its-layer": of_layers(lambda m, x: F.linear(x, m.l.weight, m.l.bias), l=square()),
    "layer-in-vain-and-its-parameter": of_layers(
        lambda m, x: (m.l(x), F.linear(x, m.l.weight, m.l.bias))[1], l=square()
    ),
    "bias-by-function": of_layers(lambda m, x: m.l(x) + m.l.bias, l=square()),
    "out-projection-of-attention-by-itself": of_layers(
        lambda m, x: m.a.attention.out_proj(m.a(x)), a=partial(Attention, batch_first=True)
    ),
}


def tied_pair(name: str) -> nn.Module:
    pair = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    return tied(pair, f"0.{name}", f"2.{name}")


def one_under_two_names() -> nn.Module:
    layer = nn.Linear(4, 4)
    return nn.Sequential(Model(lambda m, x: m.other(m.one(x).tanh()), one=layer, other=layer), Logits())


def without_gradient(layer: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        out: Tensor = layer(x)
    return out


UNREACHED: dict[str, Case] = {
    "never-called": of_layers(lambda m, x: m.one(x), one=square(), other=square()),
    "called-in-vain": of_layers(lambda m, x: (m.other(x), m.one(x))[1], one=square(), other=square()),
    "detached": of_layers(lambda m, x: m.other(m.one(x).detach()), one=square(), other=square()),
    "without-gradient": of_layers(lambda m, x: m.other(without_gradient(m.one, x)), one=square(), other=square()),
    "times-zero": of_layers(lambda m, x: m.one(x) + 0 * m.other(x), one=square(), other=square()),
    "convolution-in-vain": of_layers(
        lambda m, x: (m.other(x), m.one(x))[1], one=square(), other=partial(nn.Conv1d, LENGTH, 2, 2)
    ),
    "norm-detached": of_layers(lambda m, x: m.one(x) * m.other(x).detach(), one=square(), other=partial(Scale, 4)),
    "positions-cut-off": of_layers(lambda m, x: m.one(x)[:, :1], one=partial(Scale, LENGTH, 4)),
    "bare-parameter": of_layers(lambda m, x: m.one(x), one=square(), other=parameter(4, 4)),
}
