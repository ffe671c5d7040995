"""Whole models, however they are put together, give the per-sample gradients of the loop."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from gradshape.clipping import clipped_gradient, per_sample, per_sample_norms, weighted_gradient
from tests.clipping.architectures import (
    CLASSES,
    ROWS,
    Apply,
    Attention,
    Case,
    First,
    Logits,
    Residual,
    Scale,
    Transformer,
    Twice,
    case,
    conv_nets,
    log_likelihood,
    loop,
    mixtures,
    transformers,
    transposed,
)
from tests.clipping.naive import (
    PER_SAMPLE_LOSS,
    LossFn,
    PerSample,
    assert_equal,
    filled,
    labels,
    norm,
    per_sample_gradients,
    randn,
    squared_norms,
    trainable_layers,
    weighted_sum,
)

some = settings(max_examples=40, derandomize=True)

LENGTH = 3
SHAPE = (LENGTH, 4)


def ids(*shape: int) -> Tensor:
    """Of tokens; 7 and 8 never occur."""
    count = int(torch.tensor(shape).prod())
    return labels(count, 7, seed=5).reshape(shape)


class Model(nn.Module):
    """A model of named layers and a function of them."""

    def __init__(self, run: Callable[[Any, Tensor], Any], **layers: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


def of_layers(run: Callable[[Any, Tensor], Tensor], **layers: Callable[[], nn.Module | nn.Parameter]) -> Case:
    """Whatever the function gives for ``(B, 3, 4)`` becomes logits without further parameters."""

    def build() -> nn.Module:
        return nn.Sequential(Model(run, **{name: make() for name, make in layers.items()}), Logits())

    return case(build, *SHAPE)


def square(side: int = 4, **options: bool) -> Callable[[], nn.Linear]:
    return partial(nn.Linear, side, side, **options)


def parameter(*shape: int) -> Callable[[], nn.Parameter]:
    return lambda: nn.Parameter(torch.zeros(shape))


def tied(model: Any, one: str, other: str) -> nn.Module:
    """The parameter named last is the one named first."""
    owner, _, name = other.rpartition(".")
    setattr(model.get_submodule(owner), name, model.get_parameter(one))
    assert isinstance(model, nn.Module)
    return model


def conv_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, (3, 2), stride=(1, 2), padding=1),
        nn.GroupNorm(2, 4),
        nn.ReLU(inplace=True),
        Residual(nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False), nn.InstanceNorm2d(4, affine=True), inplace=True),
        nn.AdaptiveAvgPool2d((2, 1)),
        nn.Flatten(),
        nn.Linear(8, CLASSES),
    )


def transformer(*, batch_first: bool = True, tie: bool = True) -> nn.Module:
    blocks = nn.ModuleList([nn.TransformerEncoderLayer(4, 2, 6, 0.0, batch_first=batch_first, norm_first=tie)])
    return Transformer(blocks, batch_first=batch_first, table=tie, causal=True, tied=tie)


def recurrent() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), First(nn.GRU(3, 4, batch_first=True)), nn.LayerNorm(4), Logits())


def mixed() -> nn.Module:
    return nn.Sequential(
        Scale(LENGTH, 4),
        Attention(batch_first=True, mask="padding"),
        transposed(nn.Conv1d(4, 4, 2, padding=1)),
        nn.PReLU(),
        nn.RMSNorm(4),
        Twice(nn.Linear(4, 4)),
        Logits(),
    )


def language_model() -> nn.Module:
    return tied(
        Model(lambda m, x: m.out(m.norm(m.tokens(x))), tokens=nn.Embedding(9, 4), norm=nn.LayerNorm(4), out=head(9)),
        "tokens.weight",
        "out.weight",
    )


def head(classes: int) -> nn.Linear:
    return nn.Linear(4, classes)


WHOLE: dict[str, Case] = {
    "dense": case(lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, CLASSES)), 4),
    "sequence": case(lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), Logits()), *SHAPE),
    "convolutional": case(conv_net, 2, 5, 4),
    "transformer": Case(transformer, ids(ROWS, 4), labels(ROWS, 7)),
    "transformer-sequence-first": Case(
        partial(transformer, batch_first=False, tie=False), ids(ROWS, ROWS), labels(ROWS, 7)
    ),
    "language-model": Case(language_model, ids(ROWS, 6), ids(ROWS, 7)[:, 1:], log_likelihood),
    "recurrent": case(recurrent, *SHAPE),
    "mixed": case(mixed, *SHAPE),
}

# Which parameters stay trainable.
TRAINABLE: dict[str, Callable[[str], bool]] = {
    "weights-only": lambda name: name.endswith("weight"),
    "biases-only": lambda name: name.endswith("bias"),
    "first-layer-only": lambda name: name.startswith(("0.", "tokens.")),
    "all-but-the-first-layer": lambda name: not name.startswith(("0.", "tokens.")),
    "every-other": lambda name: sum(map(ord, name)) % 2 == 0,
    "none": lambda name: False,
}

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


class Positions(nn.Module):
    """A table of positions, called with ids that have no batch axis, or one of length 1."""

    def __init__(self, length: int, *, axis: bool = False) -> None:
        super().__init__()
        self.table = nn.Embedding(length, 4)
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1])
        out: Tensor = x + self.table(places.unsqueeze(0) if self.axis else places)
        return out


def sequences(length: int, run: Callable[[Any, Tensor], Tensor], **layers: Callable[[], Any]) -> Case:
    return Case(of_layers(run, **layers).build, randn(ROWS, length, 4, seed=9), labels(ROWS, CLASSES, seed=9))


def as_long_as_the_batch(run: Callable[[Any, Tensor], Tensor], **layers: Callable[[], Any]) -> Case:
    return sequences(ROWS, run, **layers)


def queries(m: Any, x: Tensor) -> Tensor:
    """Attention by learned queries that are projected without a batch."""
    out: Tensor = (m.layer(m.queries) @ x.mT).softmax(-1) @ x
    return out


BATCH_AXIS: dict[str, Case] = {
    "positions": sequences(4, lambda m, x: m.l(x), l=partial(Positions, 6)),
    "positions-as-long-as-the-batch": as_long_as_the_batch(lambda m, x: m.l(x), l=partial(Positions, 6)),
    "positions-of-one": sequences(4, lambda m, x: m.l(x), l=partial(Positions, 6, axis=True)),
    "one-position-of-one": sequences(1, lambda m, x: m.l(x), l=partial(Positions, 6, axis=True)),
    "queries": sequences(4, queries, layer=square(), queries=parameter(2, 4)),
    "as-many-queries-as-rows": sequences(4, queries, layer=square(), queries=parameter(ROWS, 4)),
    "as-many-normalised-queries-as-rows": sequences(
        4, queries, layer=partial(nn.LayerNorm, 4), queries=parameter(ROWS, 4)
    ),
    "as-many-scaled-queries-as-rows": sequences(4, queries, layer=partial(Scale, 4), queries=parameter(ROWS, 4)),
    "as-many-queries-as-rows-expanded": sequences(
        4,
        lambda m, x: m.l(m.q.expand(len(x), -1, -1)) * x.mean(1, keepdim=True),
        l=square(),
        q=parameter(1, ROWS, 4),
    ),
    "weights-made-by-a-layer": as_long_as_the_batch(
        lambda m, x: F.linear(x, m.l(m.z)), l=square(), z=parameter(ROWS, 4)
    ),
    "sequence-first": sequences(4, lambda m, x: m.l(x.transpose(0, 1)).transpose(0, 1), l=square()),
    "sequence-first-as-long-as-the-batch": as_long_as_the_batch(
        lambda m, x: m.l(x.transpose(0, 1)).transpose(0, 1), l=square()
    ),
    "norm-sequence-first-as-long-as-the-batch": as_long_as_the_batch(
        lambda m, x: m.l(x.transpose(0, 1)).transpose(0, 1), l=partial(nn.LayerNorm, 4)
    ),
    "scale-sequence-first-as-long-as-the-batch": as_long_as_the_batch(
        lambda m, x: m.l(x.transpose(0, 1)).transpose(0, 1), l=partial(Scale, 4)
    ),
    "convolution-position-by-position-as-long-as-the-batch": as_long_as_the_batch(
        lambda m, x: torch.stack([m.l(step.unsqueeze(1)) for step in x.unbind(1)], dim=1),
        l=partial(nn.Conv1d, 1, 2, 2),
    ),
    "embedding-sequence-first-as-long-as-the-batch": Case(
        lambda: nn.Sequential(Model(lambda m, x: m.e(x.T).transpose(0, 1), e=nn.Embedding(9, 4)), Logits()),
        ids(ROWS, ROWS),
        labels(ROWS, CLASSES),
    ),
    "row-by-row": sequences(4, lambda m, x: torch.stack([m.l(row) for row in x.unbind()]), l=square()),
    "convolution-row-by-row": sequences(
        4, lambda m, x: torch.stack([m.l(row) for row in x.unbind()]), l=partial(nn.Conv1d, 4, 2, 2)
    ),
    "groupnorm-row-by-row": sequences(
        4, lambda m, x: torch.cat([m.l(x[i : i + 1]) for i in range(len(x))]), l=partial(nn.GroupNorm, 2, 4)
    ),
    "positions-folded-into-the-batch": sequences(
        4, lambda m, x: m.l(x.reshape(-1, 4)).reshape(len(x), -1, 4), l=square()
    ),
    "frames-folded-into-the-batch": sequences(
        4, lambda m, x: m.l(x.reshape(-1, 1, 4)).reshape(len(x), -1), l=partial(nn.Conv1d, 1, 2, 3)
    ),
    "norm-folded-into-the-batch": sequences(
        4, lambda m, x: m.l(x.reshape(-1, 2, 2)).reshape(len(x), -1), l=partial(nn.GroupNorm, 1, 2)
    ),
    "attention-folded-into-the-batch": sequences(
        4,
        lambda m, x: m.l(x.reshape(-1, 2, 4)).reshape(len(x), -1, 4),
        l=partial(Attention, batch_first=True),
    ),
    "one-position-folded-into-the-batch": sequences(
        1, lambda m, x: m.l(x.reshape(-1, 4)).reshape(len(x), -1, 4), l=square()
    ),
    "batch-folded-into-the-positions": sequences(
        4, lambda m, x: m.l(x.reshape(1, -1, 4)).reshape(len(x), -1, 4), l=square()
    ),
    "two-views-one-after-the-other": sequences(
        4, lambda m, x: m.l(torch.cat([x, x.sin()])).unflatten(0, (2, -1)).prod(0), l=square()
    ),
    "two-views-side-by-side": sequences(
        4, lambda m, x: m.l(torch.stack([x, x.sin()], 1).flatten(0, 1)).unflatten(0, (-1, 2)).prod(1), l=square()
    ),
    "no-axis-for-one": sequences(1, lambda m, x: m.l(x.squeeze(1)), l=square()),
    "input-of-any-strides": sequences(4, lambda m, x: m.l(x[:, ::2].transpose(1, 2)), l=square(2)),
    "input-expanded": sequences(4, lambda m, x: m.l(x[:, :1].expand(-1, 3, -1)), l=square()),
}

# Rows of a layer are those of the batch, in another order.
REORDERED: dict[str, Case] = {
    "reversed": sequences(4, lambda m, x: m.l(x.flip(0)).flip(0), l=square()),
    "sorted": sequences(4, lambda m, x: in_order(m.l, x), l=square()),
    "sorted-convolution": sequences(4, lambda m, x: in_order(m.l, x), l=partial(nn.Conv1d, 4, 2, 2)),
    "sorted-norm": sequences(4, lambda m, x: in_order(m.l, x), l=partial(nn.LayerNorm, 4)),
    "sorted-scale": sequences(4, lambda m, x: in_order(m.l, x), l=partial(Scale, 4)),
}


def in_order(layer: nn.Module, x: Tensor) -> Tensor:
    """As for rows of different lengths: sorted, and put back in place."""
    order = x[:, 0, 0].argsort()
    out: Tensor = layer(x[order])
    return out[order.argsort()]


def some_ignored() -> Tensor:
    y = labels(ROWS, CLASSES)
    y[1] = y[3] = -100
    return y


def logits_of(loss_fn: LossFn, y: Tensor) -> Case:
    return Case(
        lambda: nn.Sequential(nn.Conv1d(2, 3, 2), nn.Flatten(), nn.Linear(9, CLASSES)), randn(ROWS, 2, 4), y, loss_fn
    )


LOSSES: dict[str, Case] = {
    "cross-entropy": logits_of(PER_SAMPLE_LOSS, labels(ROWS, CLASSES)),
    "ignored-rows": logits_of(PER_SAMPLE_LOSS, some_ignored()),
    "only-ignored-rows": logits_of(PER_SAMPLE_LOSS, torch.full((ROWS,), -100)),
    "label-smoothing": logits_of(nn.CrossEntropyLoss(reduction="none", label_smoothing=0.2), some_ignored()),
    "class-weights": logits_of(
        nn.CrossEntropyLoss(torch.tensor([0.0, 1.0, 5.0], dtype=torch.float64), reduction="none"),
        labels(ROWS, CLASSES),
    ),
    "soft-labels": logits_of(PER_SAMPLE_LOSS, randn(ROWS, CLASSES).softmax(-1)),
    "squared-error": logits_of(lambda out, y: (out - y).square().mean(1), randn(ROWS, CLASSES)),
    "squared-error-of-torch": logits_of(
        lambda out, y: F.mse_loss(out, y, reduction="none").sum(1), randn(ROWS, CLASSES)
    ),
    "negative-log-likelihood": logits_of(
        lambda out, y: F.nll_loss(out.log_softmax(-1), y, reduction="none"), labels(ROWS, CLASSES)
    ),
    "binary": logits_of(
        lambda out, y: F.binary_cross_entropy_with_logits(out[:, 0], y, reduction="none"), randn(ROWS).sigmoid()
    ),
    "hinge-with-zeros": logits_of(
        lambda out, y: (1 - out.gather(1, y[:, None]).squeeze(1)).clamp(min=0), labels(ROWS, CLASSES)
    ),
    "one-logit": logits_of(lambda out, y: out[:, 0], labels(ROWS, CLASSES)),
    "constant": logits_of(lambda out, y: y.double(), labels(ROWS, CLASSES)),
    "constant-in-the-graph": logits_of(lambda out, y: 0 * out.sum(1), labels(ROWS, CLASSES)),
    "detached": logits_of(lambda out, y: out.detach().sum(1), labels(ROWS, CLASSES)),
    "a-view-of-the-logits-changed-in-place": logits_of(lambda out, y: (2 * out)[:, 1].mul_(2), labels(ROWS, CLASSES)),
    "of-a-sequence": Case(
        lambda: nn.Linear(4, CLASSES), randn(ROWS, 6, 4), labels(ROWS * 6, CLASSES).reshape(ROWS, 6), log_likelihood
    ),
}


def pair_loss(outputs: Any, y: Tensor) -> Tensor:
    logits, aside = outputs
    losses: Tensor = PER_SAMPLE_LOSS(logits, y) + aside.square().mean(1)
    return losses


def mapping_loss(outputs: Any, y: Tensor) -> Tensor:
    return pair_loss((outputs["logits"], outputs["aside"]), y)


def pair_of_outputs(make: type) -> nn.Module:
    def run(m: Any, x: Tensor) -> Any:
        logits, aside = m.logits(m.l(x)), m.aside(x)
        return {"logits": logits, "aside": aside} if make is dict else (logits, aside)

    return Model(run, l=nn.Linear(4, 5), logits=nn.Linear(5, CLASSES), aside=nn.Linear(4, 2))


LOSSES["pair-of-outputs"] = Case(partial(pair_of_outputs, tuple), randn(ROWS, 4), labels(ROWS, CLASSES), pair_loss)
LOSSES["mapping-of-outputs"] = Case(partial(pair_of_outputs, dict), randn(ROWS, 4), labels(ROWS, CLASSES), mapping_loss)


def thawed(of: Case, chosen: Callable[[str], bool]) -> Case:
    def build() -> nn.Module:
        model = of.build()
        for name, p in model.named_parameters():
            p.requires_grad_(chosen(name))
        return model

    return Case(build, of.x, of.y, of.loss_fn)


FROZEN = {f"{kind}-{name}": thawed(of, chosen) for kind, of in WHOLE.items() for name, chosen in TRAINABLE.items()}

EVERY = {
    "whole": WHOLE,
    "frozen": FROZEN,
    "tied": TIED,
    "unreached": UNREACHED,
    "inplace": INPLACE,
    "call": UNUSUAL_CALLS,
    "axis": BATCH_AXIS,
    "reordered": REORDERED,
    "loss": LOSSES,
}

every_case = pytest.mark.parametrize(
    "of", [pytest.param(of, id=f"{kind}-{name}") for kind, cases in EVERY.items() for name, of in cases.items()]
)
every_unfrozen = pytest.mark.parametrize(
    "of",
    [
        pytest.param(of, id=f"{kind}-{name}")
        for kind, cases in EVERY.items()
        if kind != "frozen"
        for name, of in cases.items()
    ],
)
every_whole = pytest.mark.parametrize("of", [pytest.param(of, id=name) for name, of in WHOLE.items()])


@cache
def measured(of: Case) -> PerSample:
    return measure(of)


def measure(of: Case, *, microbatch: int | None = None) -> PerSample:
    # A copy of the rows: some models write to them.
    return per_sample(of.model(), of.loss_fn, of.x.clone(), of.y, microbatch=microbatch)


def assert_close(got: Tensor, expected: Tensor) -> None:
    # A model without parameters has none to take the dtype from.
    torch.testing.assert_close(got.double(), expected, rtol=1e-9, atol=1e-9)


def assert_squares(got: PerSample, of: Case) -> None:
    assert_close(got.squares, squared_norms(of.model(), loop(of)))


def assert_sums(got: PerSample, of: Case, *, seed: int) -> None:
    model = of.model()
    weights = randn(len(trainable_layers(model)), len(of.x), seed=seed)
    assert_equal(got.weighted_sum(weights), weighted_sum(model, loop(of), weights))


@every_case
def test_squares_equal_those_of_the_loop(of: Case) -> None:
    assert_squares(measured(of), of)


@every_case
def test_sums_weighted_by_layer_and_sample_equal_those_of_the_loop(of: Case) -> None:
    assert_sums(measured(of), of, seed=21)


@every_case
def test_layers_are_the_owners_of_trainable_parameters_in_their_order(of: Case) -> None:
    assert list(measured(of).layers) == trainable_layers(of.model())


random_architectures = st.one_of(conv_nets(), transformers(), mixtures())


@some
@given(of=conv_nets())
def test_squares_of_random_convolutional_networks_equal_those_of_the_loop(of: Case) -> None:
    assert_squares(measure(of), of)


@some
@given(of=transformers())
def test_squares_of_random_transformers_equal_those_of_the_loop(of: Case) -> None:
    assert_squares(measure(of), of)


@settings(max_examples=80, derandomize=True)
@given(of=mixtures())
def test_squares_of_random_mixtures_equal_those_of_the_loop(of: Case) -> None:
    assert_squares(measure(of), of)


@some
@given(of=random_architectures, seed=st.integers(0, 99))
def test_random_weights_by_layer_and_sample_give_the_sums_of_the_loop(of: Case, seed: int) -> None:
    assert_sums(measure(of), of, seed=seed)


@some
@given(of=random_architectures, seed=st.integers(0, 99))
def test_random_weights_by_sample_give_the_sums_of_the_loop(of: Case, seed: int) -> None:
    weights = randn(len(of.x), seed=seed)
    got, _ = weighted_gradient(of.model(), of.loss_fn, of.x, of.y, lambda norms: weights)
    assert_equal(got, weighted_sum(of.model(), loop(of), weights))


@some
@given(of=random_architectures, limit=st.sampled_from([0.0, 1e-3, 0.3, 1e6, float("inf")]))
def test_clipped_means_of_random_architectures_equal_those_of_the_loop(of: Case, limit: float) -> None:
    got, _ = clipped_gradient(of.model(), of.loss_fn, of.x, of.y, max_norm=limit)
    sizes = [float(norm(row)) for row in loop(of)]
    weights = torch.tensor([1.0 if s <= limit else limit / s for s in sizes], dtype=torch.float64) / max(1, len(sizes))
    assert_equal(got, weighted_sum(of.model(), loop(of), weights))


@some
@given(of=random_architectures, microbatch=st.integers(1, 6))
def test_random_architectures_do_not_see_the_size_of_microbatches(of: Case, microbatch: int) -> None:
    assert_squares(measure(of, microbatch=microbatch), of)


@every_whole
@pytest.mark.parametrize("rows", [0, 1, 2, 12])
def test_batches_of_any_size_have_the_squares_of_the_loop(of: Case, rows: int) -> None:
    batch = of.head(rows)
    assert_squares(measure(batch), batch)


@every_whole
@pytest.mark.parametrize("rows", [0, 1, 2, 12])
def test_batches_of_any_size_have_the_sums_of_the_loop(of: Case, rows: int) -> None:
    batch = of.head(rows)
    assert_sums(measure(batch), batch, seed=22)


@every_whole
@pytest.mark.parametrize("microbatch", [1, 2, 3, ROWS, ROWS + 4])
def test_microbatches_give_the_squares_of_the_loop(of: Case, microbatch: int) -> None:
    assert_squares(measure(of, microbatch=microbatch), of)


@every_whole
@pytest.mark.parametrize("microbatch", [1, 2, 3, ROWS, ROWS + 4])
def test_microbatches_give_the_sums_of_the_loop(of: Case, microbatch: int) -> None:
    assert_sums(measure(of, microbatch=microbatch), of, seed=23)


@every_unfrozen
def test_the_second_microbatch_is_as_right_as_the_first(of: Case) -> None:
    assert_squares(measure(of, microbatch=2), of)


@every_whole
@pytest.mark.parametrize("microbatch", [None, 1, 2, ROWS + 4])
def test_weights_see_the_norms_of_the_whole_batch(of: Case, microbatch: int | None) -> None:
    def to_the_median(norms: Tensor) -> Tensor:
        return (norms.median() / norms).clamp(max=1)

    got, _ = weighted_gradient(of.model(), of.loss_fn, of.x, of.y, to_the_median, microbatch=microbatch)
    weights = to_the_median(torch.stack([norm(row) for row in loop(of)]))
    assert_equal(got, weighted_sum(of.model(), loop(of), weights))


@every_whole
def test_norms_are_those_of_all_layers_together(of: Case) -> None:
    assert_close(measured(of).norms, measured(of).squares.sum(0).sqrt())


@every_whole
def test_norms_are_the_same_from_every_function(of: Case) -> None:
    assert_close(per_sample_norms(of.model(), of.loss_fn, of.x, of.y), measured(of).norms)


@every_whole
def test_one_weight_for_all_layers_is_the_weight_of_the_sample(of: Case) -> None:
    weights = randn(ROWS, seed=24)
    repeated = weights.repeat(len(measured(of).layers), 1)
    assert_equal(measured(of).weighted_sum(repeated), measured(of).weighted_sum(weights))


@every_whole
def test_sums_may_be_asked_for_again(of: Case) -> None:
    got, weights = measure(of), randn(ROWS, seed=25)
    first = got.weighted_sum(weights)
    got.weighted_sum(-weights)
    assert_equal(got.weighted_sum(weights), first, tolerance=0)


@every_case
def test_sums_of_some_layers_are_those_of_all_without_the_others(of: Case) -> None:
    assert_parts_of_the_sum(measured(of), len(of.x))


@every_whole
def test_sums_of_some_layers_do_not_see_the_size_of_microbatches(of: Case) -> None:
    assert_parts_of_the_sum(measure(of, microbatch=2), ROWS)


def assert_parts_of_the_sum(got: PerSample, rows: int) -> None:
    weights = randn(len(got.layers), rows, seed=26)
    whole = got.weighted_sum(weights)
    for wanted in ([], got.layers[:1], got.layers[1:], got.layers):
        expected = {name: total for name, total in whole.items() if name.rpartition(".")[0] in wanted}
        assert_equal(got.weighted_sum(weights, only=wanted), expected)


@every_whole
def test_results_are_detached(of: Case) -> None:
    got = measure(of)
    total = got.weighted_sum(randn(ROWS))
    assert not any(t.requires_grad for t in (got.squares, got.norms, *total.values()))


@every_whole
@settings(max_examples=5, derandomize=True)
@given(order=st.permutations(range(ROWS)))
def test_the_order_of_the_batch_is_the_order_of_the_squares(of: Case, order: list[int]) -> None:
    got = measure(Case(of.build, of.x[order], of.y[order], of.loss_fn))
    assert_close(got.squares, measured(of).squares[:, order])


@every_whole
@pytest.mark.parametrize("cut", [1, 3])
def test_parts_of_a_batch_have_the_squares_of_the_whole(of: Case, cut: int) -> None:
    parts = [
        measure(Case(of.build, x, y, of.loss_fn)).squares
        for x, y in zip(of.x.tensor_split([cut]), of.y.tensor_split([cut]), strict=True)
    ]
    assert_close(torch.cat(parts, dim=1), measured(of).squares)


@every_whole
def test_gradients_of_another_sample_have_no_part_in_a_sum(of: Case) -> None:
    for i in range(ROWS):
        only = torch.eye(ROWS, dtype=torch.float64)[i]
        assert_close(norm(measured(of).weighted_sum(only)), measured(of).norms[i])


@every_unfrozen
def test_parameters_and_flags_stay_as_they_are(of: Case) -> None:
    model = of.model()
    # Under all their names.
    parameters = dict(model.named_parameters(remove_duplicate=False))
    flags = {name: p.requires_grad for name, p in parameters.items()}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    clipped_gradient(model, of.loss_fn, of.x.clone(), of.y, max_norm=0.1)
    assert all(p is parameters[name] for name, p in model.named_parameters(remove_duplicate=False))
    assert {name: p.requires_grad for name, p in parameters.items()} == flags
    assert_equal(dict(model.state_dict()), before, tolerance=0)


@every_whole
def test_nothing_is_left_on_the_modules(of: Case) -> None:
    def attributes(module: nn.Module) -> dict[str, object]:
        return {
            # Recurrent layers list their parameters a second time.
            key: len(value) if isinstance(value, dict) else [*map(id, value)] if isinstance(value, list) else id(value)
            for key, value in vars(module).items()
        }

    model = of.model()
    before = [(type(module), attributes(module)) for module in model.modules()]
    clipped_gradient(model, of.loss_fn, of.x, of.y, max_norm=0.1, microbatch=2)
    assert [(type(module), attributes(module)) for module in model.modules()] == before


@every_whole
def test_no_grad_of_a_parameter_is_written(of: Case) -> None:
    model = of.model()
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    clipped_gradient(model, of.loss_fn, of.x, of.y, max_norm=0.1)
    assert all(p.grad is not None and (p.grad == 1).all() for p in model.parameters())


@every_whole
@pytest.mark.parametrize("microbatch", [None, 2])
def test_a_model_that_draws_nothing_leaves_the_random_numbers_alone(of: Case, microbatch: int | None) -> None:
    model, before = of.model(), torch.get_rng_state()
    clipped_gradient(model, of.loss_fn, of.x, of.y, max_norm=0.1, microbatch=microbatch)
    assert torch.equal(torch.get_rng_state(), before)


@every_whole
def test_rows_are_neither_changed_nor_differentiated(of: Case) -> None:
    x = of.x.clone()
    if x.is_floating_point():
        x.requires_grad_()
    clipped_gradient(of.model(), of.loss_fn, x, of.y, max_norm=0.1)
    assert torch.equal(x, of.x)
    assert x.grad is None


@every_whole
def test_the_mode_of_autograd_around_the_call_does_not_matter(of: Case) -> None:
    with torch.no_grad():
        got = measure(of)
    assert_squares(got, of)


# The class weights of that loss are in float64.
@pytest.mark.parametrize(
    "of", [pytest.param(of, id=name) for name, of in (WHOLE | LOSSES).items() if name != "class-weights"]
)
def test_float32_norms_are_accurate(of: Case) -> None:
    def single(t: Tensor) -> Tensor:
        return t.float() if t.is_floating_point() else t

    def double(t: Tensor) -> Tensor:
        return t.double() if t.is_floating_point() else t

    model, x, y = of.model().float(), single(of.x), single(of.y)
    got = per_sample(model, of.loss_fn, x, y)
    rows = per_sample_gradients(model.double(), of.loss_fn, double(x), double(y))
    expected = torch.stack([norm(row) for row in rows])
    torch.testing.assert_close(got.norms.double(), expected, rtol=1e-5, atol=1e-7)


def difference(out: Tensor, y: Tensor) -> Tensor:
    """Of two positions: their gradients nearly cancel where the positions are nearly the same."""
    return (out[:, 0] - out[:, 1]).flatten(1).sum(1)


def nearly_the_same(*shape: int) -> Tensor:
    """``(B, 2, ...)``."""
    first = randn(ROWS, 1, *shape).float()
    return torch.cat([first, first + 1e-3 * randn(ROWS, 1, *shape, seed=1).float()], dim=1)


def side_by_side(x: Tensor) -> Tensor:
    """``(B, 2, 8)`` positions to one channel of 16 places."""
    return x.flatten(1).unsqueeze(1)


# Their parameters have at least so many entries that norms by products of inputs pay.
CANCELLING: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "linear": (partial(nn.Linear, 64, 64, bias=False), nearly_the_same(64)),
    "linear-4d": (lambda: Apply(nn.Linear(64, 64), before=lambda x: x.unsqueeze(2)), nearly_the_same(64)),
    "conv1d": (
        lambda: Apply(nn.Conv1d(1, 64, 8, stride=8, bias=False), before=side_by_side, after=lambda o: o.mT),
        nearly_the_same(8),
    ),
    "conv1d-groups": (
        lambda: Apply(nn.Conv1d(2, 64, 8, stride=8, groups=2), before=two_channels, after=lambda o: o.mT),
        nearly_the_same(8),
    ),
    "conv2d": (
        lambda: Apply(
            nn.Conv2d(1, 64, (1, 8), stride=(1, 8), bias=False),
            before=lambda x: side_by_side(x).unsqueeze(2),
            after=lambda o: o.squeeze(2).mT,
        ),
        nearly_the_same(8),
    ),
    "linear-twice": (
        lambda: Model(lambda m, x: torch.stack([m.l(x[:, 0]), m.l(x[:, 1])], 1), l=nn.Linear(64, 64, bias=False)),
        nearly_the_same(64),
    ),
}


def two_channels(x: Tensor) -> Tensor:
    flat = side_by_side(x)
    return torch.cat([flat, 2 * flat], dim=1)


@pytest.mark.parametrize(("build", "x"), [pytest.param(*value, id=name) for name, value in CANCELLING.items()])
def test_float32_norms_survive_cancellation(build: Callable[[], nn.Module], x: Tensor) -> None:
    model = filled(build()).float()
    norms = per_sample(model, difference, x, labels(ROWS, 2)).norms
    rows = per_sample_gradients(model.double(), difference, x.double(), labels(ROWS, 2))
    torch.testing.assert_close(norms.double(), torch.stack([norm(row) for row in rows]), rtol=1e-5, atol=0)


def test_float32_norms_of_ids_survive_cancellation() -> None:
    model = filled(nn.Embedding(9, 64)).float()
    x = ids(ROWS, 1).expand(ROWS, 2)
    left, right = nearly_the_same(64)[:1].unbind(1)

    def nearly_cancelled(out: Tensor, y: Tensor) -> Tensor:
        return (left.to(out.dtype) * out[:, 0] - right.to(out.dtype) * out[:, 1]).sum(1)

    norms = per_sample(model, nearly_cancelled, x, labels(ROWS, 2)).norms
    rows = per_sample_gradients(model.double(), nearly_cancelled, x, labels(ROWS, 2))
    torch.testing.assert_close(norms.double(), torch.stack([norm(row) for row in rows]), rtol=1e-5, atol=0)


def test_results_have_the_dtype_of_the_parameters() -> None:
    of = WHOLE["convolutional"]
    got = per_sample(of.model().float(), of.loss_fn, of.x.float(), of.y)
    assert {got.norms.dtype, got.squares.dtype} == {torch.float32}
    assert {g.dtype for g in got.weighted_sum(torch.ones(ROWS)).values()} == {torch.float32}


@pytest.mark.parametrize(
    ("mixing", "shape"),
    [
        pytest.param(nn.BatchNorm1d(4), (4,), id="batchnorm1d"),
        pytest.param(nn.BatchNorm1d(4), (4, 3), id="batchnorm1d-sequence"),
        pytest.param(nn.BatchNorm2d(4), (4, 3, 2), id="batchnorm2d"),
        pytest.param(nn.BatchNorm3d(4), (4, 2, 3, 2), id="batchnorm3d"),
        pytest.param(nn.SyncBatchNorm(4), (4, 3), id="syncbatchnorm"),
        pytest.param(nn.BatchNorm1d(4, affine=False), (4,), id="batchnorm-without-parameters"),
        pytest.param(nn.BatchNorm1d(4).requires_grad_(False), (4,), id="batchnorm-frozen"),
        pytest.param(nn.BatchNorm1d(4, track_running_stats=False).eval(), (4,), id="batchnorm-of-batches-in-eval"),
    ],
)
@pytest.mark.parametrize("rows", [0, 1, ROWS])
def test_what_normalises_over_the_batch_is_refused_with_its_replacement(
    mixing: nn.Module, shape: tuple[int, ...], rows: int
) -> None:
    model = filled(nn.Sequential(nn.Identity(), mixing, Logits()))
    with pytest.raises(ValueError, match=r"1 is a \w*BatchNorm\w* .*mixes samples.*GroupNorm"):
        per_sample(model, PER_SAMPLE_LOSS, randn(rows, *shape), labels(rows, CLASSES))


@pytest.mark.parametrize("microbatch", [0, -1])
def test_a_microbatch_of_no_samples_is_refused(microbatch: int) -> None:
    with pytest.raises(ValueError, match=f"microbatch={microbatch}"):
        measure(WHOLE["dense"], microbatch=microbatch)


def test_dropout_has_one_mask_for_squares_and_sum() -> None:
    model = filled(nn.Sequential(Scale(4), nn.Dropout(0.5), nn.Linear(4, 20), nn.Dropout(0.5), Logits()))
    got = per_sample(model, PER_SAMPLE_LOSS, randn(ROWS, 4), labels(ROWS, CLASSES), microbatch=2)
    for i in range(ROWS):
        only = torch.eye(ROWS, dtype=torch.float64)[i]
        assert_close(norm(got.weighted_sum(only)), got.norms[i])
