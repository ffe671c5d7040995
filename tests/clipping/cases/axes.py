"""Layers that see the batch on another axis, folded into one, in another order or not at all."""

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
    Scale,
)
from tests.clipping.cases.whole import (
    Model,
    ids,
    of_layers,
    parameter,
    square,
)
from tests.clipping.naive import (
    labels,
    randn,
)


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
