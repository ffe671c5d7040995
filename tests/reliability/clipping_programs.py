"""Random programs over the rows of a batch: row-wise ones, ones that reorder rows, and ones that mix them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tests.clipping.naive import PER_SAMPLE_LOSS, LossFn, filled, labels, randn

WIDTH, CLASSES = 3, 3

# Maps a model and its hidden values (B, T, WIDTH) to others.
Step = Callable[[Any, Tensor], Tensor]


@dataclass
class Output:
    """Logits as many models return them."""

    logits: Tensor


class Held:
    """Logits in an object of a class of the user's own."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class Program(nn.Module):
    """A model that takes its steps one after the other and returns logits in a container.

    ``time_first`` takes the steps on ``(T, B, WIDTH)``.
    """

    def __init__(self, steps: Sequence[Step], length: int, container: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.norm = nn.LayerNorm(WIDTH)
        self.scale = nn.Parameter(torch.ones(WIDTH, WIDTH))
        self.cell = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.mixer = nn.Conv1d(WIDTH, WIDTH, 3, padding=1)
        self.head = nn.Linear(length * WIDTH, CLASSES)
        self.steps, self.container, self.time_first = list(steps), container, False

    def forward(self, x: Tensor) -> Any:
        h: Tensor = x
        for step in self.steps:
            h = step(self, h.transpose(0, 1)).transpose(0, 1) if self.time_first else step(self, h)
        return self.container(self.head(h.flatten(1)))


def _order(rows: int, seed: int) -> Tensor:
    return torch.randperm(rows, generator=torch.Generator().manual_seed(seed))


# Ways of putting rows into an order.
REORDERINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "index": lambda h, order: h[order],
    "index_select": lambda h, order: h.index_select(0, order),
    "gather": lambda h, order: h.gather(0, order.view(-1, 1, 1).expand_as(h)),
    "slices": lambda h, order: torch.cat([h[i : i + 1] for i in order.tolist()]),
    "split": lambda h, order: torch.cat([h.split(1)[i] for i in order.tolist()]),
    "unbind": lambda h, order: torch.stack([h.unbind()[i] for i in order.tolist()]),
    "stack": lambda h, order: torch.stack([h[i] for i in order.tolist()]),
    "product": lambda h, order: torch.einsum("ab,btd->atd", torch.eye(len(h), dtype=h.dtype)[order], h),
    "table": lambda h, order: F.embedding(order, h.flatten(1)).view_as(h),
}

ROW_WISE: dict[str, Step] = {
    "linear": lambda m, h: m.layers[0](h),
    "linear-and-tanh": lambda m, h: m.layers[1](h).tanh(),
    "residual": lambda m, h: h + m.layers[2](h),
    "norm": lambda m, h: m.norm(h),
    "einsum": lambda m, h: torch.einsum("btd,de->bte", h, m.scale),
    "recurrent": lambda m, h: m.cell(h)[0],
    "time-reversed": lambda m, h: h.flip(1),
    "transposed": lambda m, h: m.layers[0](h.transpose(0, 1)).transpose(0, 1),
    "folded": lambda m, h: m.layers[1](h.reshape(-1, WIDTH)).view_as(h),
    "positions": lambda m, h: torch.stack([m.layers[2](step) for step in h.unbind(1)], 1),
    "row-by-row": lambda m, h: torch.stack([m.norm(row) for row in h.unbind()]),
    "attention-over-time": lambda m, h: (m.layers[0](h) @ h.mT).softmax(-1) @ h,
    "half-of-the-features": lambda m, h: torch.cat([m.layers[0](h)[..., 1:], h[..., :1]], -1),
}

MIXING: dict[str, Step] = {
    "mean": lambda m, h: h - m.layers[0](h).mean(0, keepdim=True),
    "detached-statistics": lambda m, h: m.norm((h - h.detach().mean(0)) / (1 + h.detach().std(0, correction=0))),
    "cumulated": lambda m, h: m.layers[1](h).cumsum(0),
    "softmax": lambda m, h: m.layers[2](h).softmax(0),
    "rolled": lambda m, h: m.layers[0](h).roll(1, 0),
    "flipped": lambda m, h: m.layers[0](h.flip(0)),
    "convolution": lambda m, h: m.mixer(h.permute(1, 2, 0)).permute(2, 0, 1),
    "attention-over-rows": lambda m, h: (
        m.layers[0](h.flatten(1) @ h.flatten(1).mT @ h.flatten(1).view_as(h).mean(1)).softmax(0).unsqueeze(1) * h
    ),
    "by-their-number": lambda m, h: m.layers[1](h) / len(h),
}

CONTAINERS: dict[str, tuple[Callable[[Tensor], Any], LossFn]] = {
    "tensor": (lambda z: z, PER_SAMPLE_LOSS),
    "tensor-and-a-function": (lambda z: z, lambda z, y: PER_SAMPLE_LOSS(z, y)),
    "tuple": (lambda z: (z, z.detach()), lambda z, y: PER_SAMPLE_LOSS(z[0], y)),
    "mapping": (lambda z: {"z": z}, lambda z, y: PER_SAMPLE_LOSS(z["z"], y)),  # type: ignore[index]
    "dataclass": (Output, lambda z, y: PER_SAMPLE_LOSS(z.logits, y)),  # type: ignore[attr-defined]
    "object": (Held, lambda z, y: PER_SAMPLE_LOSS(z.logits, y)),  # type: ignore[attr-defined]
}


def reordered(inner: Sequence[Step], there: str, back: str, seed: int) -> Step:
    """Take steps on the rows in another order, and put them back."""

    def step(m: Any, h: Tensor) -> Tensor:
        order = _order(len(h), seed)
        h = REORDERINGS[there](h, order)
        for one in inner:
            h = one(m, h)
        return REORDERINGS[back](h, order.argsort())

    return step


@dataclass(frozen=True, eq=False)
class Written:
    """A program, its loss, and the length of its rows; ``mixes`` if some step was written to mix rows."""

    model: Program
    loss_fn: LossFn
    length: int
    mixes: bool

    def batch(self, rows: int, seed: int) -> tuple[Tensor, Tensor]:
        """Draw rows and labels."""
        return randn(rows, self.length, WIDTH, seed=seed), labels(rows, CLASSES, seed=seed)


_row_wise = st.sampled_from(sorted(ROW_WISE)).map(ROW_WISE.__getitem__)
_reordered = st.builds(
    reordered,
    st.lists(_row_wise, min_size=1, max_size=2),
    st.sampled_from(sorted(REORDERINGS)),
    st.sampled_from(sorted(REORDERINGS)),
    st.integers(0, 9),
)


@st.composite
def programs(draw: st.DrawFn, *, mixing: bool) -> Written:
    """Programs of row-wise steps and reorderings that are undone; with ``mixing``, one more step mixes rows."""
    steps = draw(st.lists(_row_wise | _reordered, min_size=1, max_size=3))
    if mixing:
        name = draw(st.sampled_from(sorted(MIXING)), label="mixing")
        steps.insert(draw(st.integers(0, len(steps))), MIXING[name])
    length = draw(st.sampled_from([1, 3, 5]), label="length")
    container, loss_fn = CONTAINERS[draw(st.sampled_from(sorted(CONTAINERS)), label="logits in")]
    model = filled(Program(steps, length, container), seed=draw(st.integers(0, 9)))
    return Written(model, loss_fn, length, mixing)
