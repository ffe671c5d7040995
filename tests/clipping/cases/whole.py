"""Whole models, with all and with some of their parameters trainable; and what the other cases are built of."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tests.clipping.architectures import (
    CLASSES,
    ROWS,
    Attention,
    Case,
    First,
    Logits,
    Residual,
    Scale,
    Transformer,
    Twice,
    case,
    log_likelihood,
    transposed,
)
from tests.clipping.naive import (
    labels,
)

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


def thawed(of: Case, chosen: Callable[[str], bool]) -> Case:
    def build() -> nn.Module:
        model = of.build()
        for name, p in model.named_parameters():
            p.requires_grad_(chosen(name))
        return model

    return Case(build, of.x, of.y, of.loss_fn)


FROZEN = {f"{kind}-{name}": thawed(of, chosen) for kind, of in WHOLE.items() for name, chosen in TRAINABLE.items()}
