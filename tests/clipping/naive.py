"""What the library has to agree with: each sample's own backward pass, one after the other. And random models."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

PER_SAMPLE_LOSS = nn.CrossEntropyLoss(reduction="none")

Gradients = dict[str, Tensor]
LossFn = Callable[[Tensor, Tensor], Tensor]
Model = TypeVar("Model", bound=nn.Module)


class PerSample(Protocol):
    """What the library says about a batch of ``B`` rows and a model with ``L`` layers."""

    @property
    def layers(self) -> Sequence[str]: ...

    @property
    def squares(self) -> Tensor: ...

    @property
    def norms(self) -> Tensor: ...

    def weighted_sum(self, weights: Tensor, /, *, only: Sequence[str] | None = None) -> Gradients: ...


def per_sample_gradients(model: nn.Module, loss_fn: LossFn, x: Tensor, y: Tensor) -> list[Gradients]:
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    rows = []
    for i in range(len(x)):
        loss = loss_fn(model(x[i : i + 1]), y[i : i + 1]).sum()
        grads: tuple[Tensor | None, ...] = (None,) * len(parameters)
        if loss.requires_grad and parameters:
            grads = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        of_names = zip(parameters.items(), grads, strict=True)
        rows.append({name: torch.zeros_like(p) if g is None else g.to_dense() for (name, p), g in of_names})
    return rows


def owner(parameter: str) -> str:
    return parameter.rpartition(".")[0]


def trainable_layers(model: nn.Module) -> list[str]:
    return list(dict.fromkeys(owner(name) for name, p in model.named_parameters() if p.requires_grad))


def squared_norms(model: nn.Module, rows: list[Gradients]) -> Tensor:
    """``(L, B)``."""
    layers = trainable_layers(model)
    squares = torch.zeros(len(layers), len(rows), dtype=torch.float64)
    for i, row in enumerate(rows):
        for name, g in row.items():
            squares[layers.index(owner(name)), i] += g.double().square().sum()
    return squares


def weighted_sum(model: nn.Module, rows: list[Gradients], weights: Tensor) -> Gradients:
    """For weights ``(B,)`` or ``(L, B)``."""
    layers = trainable_layers(model)
    by_layer = weights.expand(len(layers), len(rows))
    total = {name: torch.zeros_like(p) for name, p in model.named_parameters() if p.requires_grad}
    for i, row in enumerate(rows):
        for name, g in row.items():
            total[name] += by_layer[layers.index(owner(name)), i] * g
    return total


def norm(gradient: Gradients) -> Tensor:
    flat = torch.cat([torch.zeros(1, dtype=torch.float64), *(g.double().flatten() for g in gradient.values())])
    return flat.square().sum().sqrt()


def clipped_mean(model: nn.Module, loss_fn: LossFn, x: Tensor, y: Tensor, max_norm: float) -> tuple[Gradients, Tensor]:
    rows = per_sample_gradients(model, loss_fn, x, y)
    mean = {name: torch.zeros_like(p) for name, p in model.named_parameters() if p.requires_grad}
    for row in rows:
        size = float(norm(row))
        weight = min(1.0, max_norm / size) if size > 0 else 1.0
        for name, g in row.items():
            mean[name] += weight * g / len(x)
    return mean, torch.tensor([float(norm(row)) for row in rows], dtype=torch.float64)


def assert_equal(got: Gradients, expected: Gradients, *, tolerance: float = 1e-9) -> None:
    assert list(got) == list(expected)
    for name in expected:
        torch.testing.assert_close(got[name], expected[name], rtol=tolerance, atol=tolerance)


def distance(one: Gradients, other: Gradients) -> float:
    return float(norm({name: one[name] - other[name] for name in one}))


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels(rows: int, classes: int, *, seed: int = 0) -> Tensor:
    return torch.randint(0, classes, (rows,), generator=torch.Generator().manual_seed(seed))


def filled(model: Model, *, seed: int = 0) -> Model:
    """The model in float64 with parameters drawn by seed."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(
                torch.randn(p.shape, generator=generator, dtype=torch.float64)
                / max(1, p.shape[-1] if p.dim() else 1) ** 0.5
            )
    return model


class Positions(nn.Module):
    """``(B, ..., C)`` logits of positions to ``(B, C)``."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1, -2).mean(1) if x.dim() > 2 else x


@st.composite
def dense_models(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, ...], int]:
    """A network of Linear layers, the shape of its rows, and its number of classes."""
    middle = tuple(draw(st.lists(st.integers(1, 7), max_size=2), label="axes between batch and features"))
    widths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4), label="widths")
    classes = draw(st.integers(2, 4), label="classes")
    activations: list[Callable[[], nn.Module]] = [
        nn.ReLU,
        nn.Tanh,
        nn.GELU,
        nn.Identity,
        partial(nn.ReLU, inplace=True),
    ]
    activation = draw(st.sampled_from(activations), label="activation")
    layers: list[nn.Module] = []
    for inputs, outputs in zip(widths, [*widths[1:], classes], strict=True):
        layers += [nn.Linear(inputs, outputs, bias=draw(st.booleans())), activation()]
    pool_first = draw(st.booleans()) and len(layers) > 2
    body, head = nn.Sequential(*layers[:-2]), layers[-2]
    model = nn.Sequential(body, Positions(), head) if pool_first else nn.Sequential(body, head, Positions())
    return filled(model, seed=draw(st.integers(0, 99))), (*middle, widths[0]), classes
