"""Models with the batch they are run on, and random ones, whose per-sample gradients are known from the loop."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tests.clipping.naive import (
    PER_SAMPLE_LOSS,
    Gradients,
    LossFn,
    filled,
    labels,
    per_sample_gradients,
    randn,
)

ROWS = 5
CLASSES = 3


@dataclass(frozen=True, eq=False)
class Case:
    """A model, a batch and a loss.

    Attributes:
        build: makes the model, its parameters yet to be drawn.
        x, y: ``(B, ...)``.
        loss_fn: one loss per sample.
    """

    build: Callable[[], nn.Module]
    x: Tensor
    y: Tensor
    loss_fn: LossFn = PER_SAMPLE_LOSS

    def model(self) -> nn.Module:
        """A new one each time, always with the same parameters."""
        return filled(self.build())

    def head(self, rows: int) -> "Case":
        """The first rows, repeated where there are not enough."""
        index = torch.arange(rows) % max(1, len(self.x))
        return Case(self.build, self.x[index], self.y[index], self.loss_fn)


def case(build: Callable[[], nn.Module], *shape: int, rows: int = ROWS) -> Case:
    """With rows of normal numbers and labels of classes."""
    return Case(build, randn(rows, *shape, seed=7), labels(rows, CLASSES, seed=7))


@cache
def loop(of: Case) -> list[Gradients]:
    return per_sample_gradients(of.model(), of.loss_fn, of.x, of.y)


class Logits(nn.Module):
    """Logits out of whatever a layer gives, by fixed coefficients: no parameters but those of the layer."""

    def forward(self, out: Tensor) -> Tensor:
        flat = out.flatten(1).tanh()
        width = flat.shape[1]
        coefficients = torch.arange(1.0, 1 + width * CLASSES, dtype=flat.dtype).sin().reshape(width, CLASSES)
        logits: Tensor = flat @ coefficients / max(1, width) ** 0.5
        return logits


class Scale(nn.Module):
    """A module that nobody knows: bare parameters."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(shape))
        self.shift = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor + self.shift


class Apply(nn.Module):
    """A layer between functions: what goes in, and what comes out."""

    def __init__(
        self,
        layer: nn.Module,
        *,
        before: Callable[[Tensor], Tensor] = torch.clone,
        after: Callable[[Tensor], Tensor] = torch.clone,
    ) -> None:
        super().__init__()
        self.layer, self.before, self.after = layer, before, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.layer(self.before(x)))


class Residual(nn.Module):
    def __init__(self, *layers: nn.Module, inplace: bool = False) -> None:
        super().__init__()
        self.branch = nn.Sequential(*layers)
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.branch(x)
        return out.add_(x) if self.inplace else out + x


class Attention(nn.Module):
    """Attention of ``(B, T, 4)`` to itself, or to an other sequence where ``kdim`` is given.

    Args:
        mask: "padding" leaves out positions row by row, "causal" and "float" are ``(T, T)``, "heads" differs between
            rows and heads.
        weights: whether the attention weights take part in the output.
        options: of the layer.
    """

    def __init__(self, *, mask: str = "", weights: bool = False, average: bool = True, **options: Any) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, **options)
        self.mask, self.weights, self.average = mask, weights, average
        self.kdim, self.vdim = self.attention.kdim, self.attention.vdim

    def forward(self, x: Tensor) -> Tensor:
        key = value = x
        if (self.kdim, self.vdim) != (4, 4):
            key, value = x[:, 1:, : self.kdim], x[:, 1:].repeat(1, 1, 2)[..., 1 : 1 + self.vdim]
        sequences = [x, key, value]
        if not self.attention.batch_first:
            sequences = [s.transpose(0, 1) for s in sequences]
        out, weights = self.attention(
            *sequences,
            need_weights=self.weights,
            average_attn_weights=self.average,
            key_padding_mask=padding(x) if self.mask == "padding" else None,
            attn_mask=self._mask(x),
        )
        out = out if self.attention.batch_first else out.transpose(0, 1)
        return torch.cat([out.flatten(1), weights.flatten(1)], dim=1) if self.weights else out

    def _mask(self, x: Tensor) -> Tensor | None:
        length = x.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool).triu(1)
        if self.mask == "causal":
            return causal
        if self.mask == "float":
            return torch.zeros(length, length, dtype=x.dtype).masked_fill(causal, -1.5)
        if self.mask == "heads":
            of_rows = (x @ x.mT).detach().masked_fill(causal, -1.5)
            return torch.stack([of_rows, -of_rows], dim=1).flatten(0, 1)
        return None


def padding(x: Tensor) -> Tensor:
    """``(B, T)`` positions to leave out, never the first."""
    return (x[..., 0] > 0.3) & (torch.arange(x.shape[1]) > 0)


class First(nn.Module):
    """What a recurrent layer gives, without its last state."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)[0]
        return out


class Twice(nn.Module):
    """The same layer at two places."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(self.layer(x).tanh())
        return out


def transposed(layer: nn.Module, one: int = 1, other: int = 2) -> Apply:
    swap = partial(torch.transpose, dim0=one, dim1=other)
    return Apply(layer, before=swap, after=swap)


def frozen_at_random(draw: st.DrawFn, model: nn.Module) -> nn.Module:
    for p in model.parameters():
        p.requires_grad_(draw(st.integers(0, 3)) > 0)
    return model


def random_case(draw: st.DrawFn, model: nn.Module, x: Callable[[int], Tensor]) -> Case:
    """The model with random flags, parameters, batch size and labels; ``x`` gives as many rows as it is told."""
    model = frozen_at_random(draw, model)
    rows = draw(st.integers(0, 5), label="rows")
    return Case(lambda: deepcopy(model), x(rows), labels(rows, CLASSES, seed=rows))


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, ...]]:
    """A convolution over one to three axes, and the shape of its rows."""
    axes = draw(st.integers(1, 3), label="axes")
    kind: type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]

    def each(low: int, high: int) -> st.SearchStrategy[tuple[int, ...]]:
        return st.tuples(*[st.integers(low, high)] * axes)

    groups = draw(st.integers(1, 3), label="groups")
    channels = groups * draw(st.integers(1, 2))
    kernel = draw(each(1, 3), label="kernel")
    dilation = draw(each(1, 2), label="dilation")
    reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    # Torch pads a copy, and says so, where "same" is not symmetric.
    pads = st.sampled_from(["valid", "same"] if all(r % 2 == 0 for r in reach) else ["valid"])
    pad = draw(pads | each(0, 2), label="padding")
    stride = draw(each(1, 3), label="stride") if pad != "same" else (1,) * axes
    # The largest padding, and at least one place for the kernel.
    size = tuple(max(3, r + 1) + draw(st.integers(0, 2)) for r in reach)
    layer = kind(
        channels,
        groups * draw(st.integers(1, 2)),
        kernel,  # type: ignore[arg-type]
        stride=stride,  # type: ignore[arg-type]
        padding=pad,  # type: ignore[arg-type]
        dilation=dilation,  # type: ignore[arg-type]
        groups=groups,
        bias=draw(st.booleans(), label="bias"),
        padding_mode=draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]), label="mode"),
    )
    return layer, (channels, *size)


ACTIVATIONS: list[Callable[[], nn.Module]] = [nn.Identity, partial(nn.ReLU, inplace=True), nn.ReLU, nn.Tanh, nn.PReLU]


@st.composite
def conv_nets(draw: st.DrawFn) -> Case:
    """Convolutions with norms and skips, ending in pooling and a linear layer."""
    channels, size = draw(st.integers(1, 3)), (draw(st.integers(3, 7)), draw(st.integers(3, 7)))
    shape = (channels, *size)
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 3), label="depth")):
        width, kernel = draw(st.sampled_from([2, 4])), (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
        groups = draw(st.sampled_from([g for g in (1, 2, 4) if channels % g == 0 and width % g == 0]))
        mode: Literal["zeros", "replicate", "circular"] = draw(st.sampled_from(["zeros", "replicate", "circular"]))
        stride = draw(st.integers(1, 2))
        # Kernels fit whatever is left of the size.
        conv = nn.Conv2d(
            *(channels, width, kernel, stride),
            *((kernel[0] // 2 + 1, kernel[1] // 2 + 1) if mode == "zeros" else (kernel[0] // 2, kernel[1] // 2),),
            groups=groups,
            bias=draw(st.booleans()),
            padding_mode=mode,
        )
        layers.append(conv)
        channels = width
        with torch.no_grad():
            places = nn.Sequential(*layers)(torch.zeros(1, *shape)).shape[2:].numel()
        norms: list[Callable[[], nn.Module]] = [nn.Identity, partial(nn.GroupNorm, 1, width)]
        # Torch refuses to normalise a single value.
        norms += [partial(nn.GroupNorm, 2, width)] if places * width > 2 else []
        norms += [partial(nn.InstanceNorm2d, width, affine=True)] if places > 1 else []
        layers.append(draw(st.sampled_from(norms))())
        layers.append(draw(st.sampled_from(ACTIVATIONS))())
        if draw(st.booleans()):
            layers.append(Residual(nn.Conv2d(width, width, 1), inplace=draw(st.booleans())))
    pool = draw(st.sampled_from([(1, 1), (2, 1)]))
    layers += [nn.AdaptiveAvgPool2d(pool), nn.Flatten(), nn.Linear(channels * pool[0], CLASSES)]
    return random_case(draw, nn.Sequential(*layers), lambda rows: randn(rows, *shape, seed=rows))


class Transformer(nn.Module):
    """Tokens to logits; the positions are a bare parameter or an embedding that is called without a batch."""

    def __init__(self, encoder: nn.Module, *, batch_first: bool, table: bool, causal: bool, tied: bool) -> None:
        super().__init__()
        self.tokens = nn.Embedding(7, 4, padding_idx=0)
        self.position = nn.Embedding(6, 4) if table else nn.Parameter(torch.zeros(6, 4))
        self.encoder = encoder
        self.norm = nn.LayerNorm(4)
        self.out = nn.Linear(4, 7, bias=False)
        if tied:
            self.out.weight = self.tokens.weight
        self.batch_first, self.causal = batch_first, causal

    def forward(self, ids: Tensor) -> Tensor:
        length = ids.shape[1]
        places = self.position[:length] if isinstance(self.position, Tensor) else self.position(torch.arange(length))
        hidden = self.tokens(ids) + places
        mask = torch.ones(length, length, dtype=torch.bool).triu(1) if self.causal else None
        if not self.batch_first:
            hidden = hidden.transpose(0, 1)
        for block in self.encoder.children():
            hidden = block(hidden, src_mask=mask)
        hidden = self.norm(hidden if self.batch_first else hidden.transpose(0, 1))
        out: Tensor = self.out(hidden).mean(1)
        return out


@st.composite
def transformers(draw: st.DrawFn) -> Case:
    batch_first = draw(st.booleans(), label="batch first")
    blocks = [
        nn.TransformerEncoderLayer(
            *(4, 2, 6, 0.0),
            batch_first=batch_first,
            norm_first=draw(st.booleans(), label="norm first"),
            bias=draw(st.booleans(), label="bias"),
        )
        for _ in range(draw(st.integers(1, 2), label="depth"))
    ]
    model = Transformer(
        nn.ModuleList(blocks),
        batch_first=batch_first,
        table=draw(st.booleans(), label="table of positions"),
        causal=draw(st.booleans(), label="causal"),
        tied=draw(st.booleans(), label="tied"),
    )
    length = draw(st.integers(1, 5), label="length")

    def ids(rows: int) -> Tensor:
        return labels(rows * length, 7, seed=rows).reshape(rows, length)

    return random_case(draw, model.train(draw(st.booleans(), label="training")), ids)


def _mixed_layers(length: int) -> list[Callable[[], nn.Module]]:
    """All keep ``(B, length, 4)``."""
    return [
        partial(nn.Linear, 4, 4),
        lambda: nn.Sequential(nn.Linear(4, 3, bias=False), nn.ReLU(inplace=True), nn.Linear(3, 4)),
        lambda: transposed(nn.Linear(length, length)),
        lambda: transposed(nn.Conv1d(4, 4, 3, padding=1, groups=2)),
        lambda: transposed(nn.Conv1d(4, 4, 1)),
        lambda: transposed(nn.GroupNorm(2, 4)),
        partial(nn.LayerNorm, 4),
        lambda: nn.LayerNorm((length, 4), bias=False),
        partial(nn.RMSNorm, 4),
        lambda: Attention(batch_first=False, mask="causal"),
        lambda: Attention(batch_first=True, add_bias_kv=True, mask="padding"),
        lambda: Scale(length, 4),
        lambda: Scale(1),
        nn.PReLU,
        lambda: Twice(nn.Linear(4, 4)),
        lambda: Twice(nn.LayerNorm(4)),
        lambda: First(nn.GRU(4, 4, batch_first=True)),
        lambda: transposed(First(nn.RNN(4, 4)), 0, 1),
        lambda: transposed(nn.Linear(4, 4), 0, 1),
        lambda: Apply(
            nn.Conv1d(1, 1, 3, padding=1),
            before=lambda x: x.reshape(-1, 1, 4),
            after=lambda x: x.reshape(-1, length, 4),
        ),
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)),
    ]


@st.composite
def mixtures(draw: st.DrawFn) -> Case:
    """Layers of all kinds in any order; at times a layer comes twice."""
    length = draw(st.integers(1, 5), label="length")
    kinds = _mixed_layers(length)
    chosen = draw(st.lists(st.integers(0, len(kinds) - 1), min_size=1, max_size=4), label="layers")
    built: dict[int, nn.Module] = {}
    layers: list[nn.Module] = []
    for kind in chosen:
        layer = built.setdefault(kind, kinds[kind]()) if draw(st.integers(0, 4)) == 0 else kinds[kind]()
        layers.append(Residual(layer, inplace=draw(st.booleans())) if draw(st.booleans()) else layer)
        layers.append(draw(st.sampled_from(ACTIVATIONS))())
    model = nn.Sequential(*layers, Logits())
    return random_case(draw, model, lambda rows: randn(rows, length, 4, seed=rows))


def log_likelihood(logits: Tensor, y: Tensor) -> Tensor:
    """Of whole sequences: ``(B, T, C)`` logits and ``(B, T)`` labels."""
    return F.cross_entropy(logits.transpose(1, 2), y, reduction="none").mean(1)
