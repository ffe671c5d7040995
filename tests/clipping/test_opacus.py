"""Equality with Opacus, which materialises every per-sample gradient and clips by ``C / (norm + 1e-6)``.

And models that went through Opacus' hands: wrapped ones, and ones that it trained.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from opacus import GradSampleModule
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn

from gradshape import models
from gradshape.clipping import clipped_gradient, per_sample_norms
from gradshape_bench.speed.opacus_steps import opacus_compatible, with_torch_names
from tests.clipping.naive import PER_SAMPLE_LOSS, labels

# Of torch, about the hooks of Opacus.
pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")

ROWS, CLASSES = 8, 10
# Relative to the largest entry.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}

Gradients = Mapping[str, Tensor]


class Words(nn.Module):
    """A transformer over 12 words, with what Opacus has a rule for, or replaces by what it has a rule for."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 16)
        self.positions = nn.Embedding(12, 16)
        layers = (nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True) for _ in range(2))
        self.blocks = nn.Sequential(*layers)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        positions = torch.arange(x.shape[1]).repeat(len(x), 1)
        logits: Tensor = self.head(self.blocks(self.words(x) + self.positions(positions)).mean(1))
        return logits


@dataclass(frozen=True)
class Kind:
    """A model and what goes into it: pictures of a shape, or words."""

    name: str
    shape: tuple[int, ...]

    def build(self, *, dtype: torch.dtype = torch.float32) -> nn.Module:
        if self.name == "transformer":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                return Words().to(dtype)
        return models.build(self.name, self.shape, CLASSES).to(dtype)

    def draw(self, *, dtype: torch.dtype = torch.float32) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        if self.name == "transformer":
            return torch.randint(50, (ROWS, *self.shape), generator=generator)
        return torch.randn(ROWS, *self.shape, generator=generator, dtype=torch.float64).to(dtype)


KINDS = [
    Kind("lr", (30,)),
    Kind("mlp", (1, 6, 5)),
    Kind("mlp1", (30,)),
    Kind("cnn", (3, 12, 12)),
    Kind("cnn_dropout", (3, 12, 12)),
    Kind("transformer", (12,)),
]
DTYPES = [torch.float32, torch.float64]
of_every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
of_every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Opacus' hooks look at modules in training mode only, so a model cannot be in eval mode as a whole."""
    layers = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    for layer in layers:
        layer.eval()
    yield
    for layer in layers:
        layer.train()


def by_opacus(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Callable[[float], dict[str, Tensor]], Tensor]:
    """Opacus' mean clipped gradient as a function of the clipping norm, and its norms."""
    model = opacus_compatible(model.train())
    wrapped = GradSampleModule(model, loss_reduction="sum")
    with without_dropout(model):
        PER_SAMPLE_LOSS(wrapped(x), y).sum().backward()
    parameters: dict[str, Any] = dict(model.named_parameters())
    per_sample: dict[str, Tensor] = {name: p.grad_sample for name, p in parameters.items()}
    norms = torch.stack([g.flatten(1).norm(dim=1) for g in per_sample.values()], dim=1).norm(dim=1)

    def mean(max_norm: float) -> dict[str, Tensor]:
        factors = (max_norm / (norms + 1e-6)).clamp(max=1)
        return with_torch_names(
            {name: torch.einsum("i,i...->...", factors, g) / len(x) for name, g in per_sample.items()}
        )

    return mean, norms


def assert_close(got: Gradients, expected: Gradients, *, tolerance: float) -> None:
    assert got.keys() == expected.keys()
    largest = max(float(g.abs().max()) for g in expected.values())
    for name, g in expected.items():
        torch.testing.assert_close(got[name], g, rtol=tolerance, atol=tolerance * largest)


@of_every_dtype
@of_every_kind
def test_clipped_means_equal_those_of_opacus(kind: Kind, dtype: torch.dtype) -> None:
    model, x, y = kind.build(dtype=dtype), kind.draw(dtype=dtype), labels(ROWS, CLASSES)
    mean, norms = by_opacus(kind.build(dtype=dtype), x, y)
    # Half of the samples are clipped.
    limit = float(norms.median())
    with without_dropout(model.train()):
        got, got_norms = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=limit)
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(got_norms, norms, rtol=tolerance, atol=0)
    # Opacus' 1e-6 beside the norm takes up to this share off a clipped sample.
    assert_close(got, mean(limit), tolerance=tolerance + 1e-6 / limit)


@of_every_dtype
@of_every_kind
def test_gradients_that_nothing_clips_equal_those_of_opacus(kind: Kind, dtype: torch.dtype) -> None:
    model, x, y = kind.build(dtype=dtype), kind.draw(dtype=dtype), labels(ROWS, CLASSES)
    mean, norms = by_opacus(kind.build(dtype=dtype), x, y)
    limit = 2 * float(norms.max())
    with without_dropout(model.train()):
        got, _ = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=limit)
    assert_close(got, mean(limit), tolerance=TOLERANCE[dtype])


def wrapped_with_rules(model: nn.Module) -> Any:
    return GradSampleModule(model)


def wrapped_with_functorch(model: nn.Module) -> Any:
    return GradSampleModule(model, force_functorch=True)


def wrapped_with_ghost_clipping(model: nn.Module) -> Any:
    return GradSampleModuleFastGradientClipping(model)


Wrap = Callable[[nn.Module], Any]
by_every_wrapper = pytest.mark.parametrize(
    "wrap",
    [wrapped_with_rules, wrapped_with_functorch, wrapped_with_ghost_clipping],
    ids=["rules", "functorch", "ghost"],
)


@by_every_wrapper
@of_every_kind
def test_wrapped_model_has_the_gradients_of_the_model(kind: Kind, wrap: Wrap) -> None:
    model, x, y = opacus_compatible(kind.build().train()), kind.draw(), labels(ROWS, CLASSES)
    with without_dropout(model):
        expected, expected_norms = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=1.0)
        wrapped = wrap(model)
        got, norms = clipped_gradient(wrapped, PER_SAMPLE_LOSS, x, y, max_norm=1.0)
    torch.testing.assert_close(norms, expected_norms)
    assert list(got) == [name for name, _ in wrapped.named_parameters()]
    assert_close({name.removeprefix("_module."): g for name, g in got.items()}, expected, tolerance=1e-5)


@by_every_wrapper
@of_every_kind
def test_wrapper_sees_nothing_of_it(kind: Kind, wrap: Wrap, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped = wrap(opacus_compatible(kind.build().train()))

    def fired(*_: object, **__: object) -> None:
        raise AssertionError("a hook of Opacus fired")

    monkeypatch.setattr(wrapped, "rearrange_grad_samples", fired)
    hooks = len(wrapped.autograd_grad_sample_hooks)
    clipped_gradient(wrapped, PER_SAMPLE_LOSS, kind.draw(), labels(ROWS, CLASSES), max_norm=1.0)
    assert wrapped.hooks_enabled
    assert len(wrapped.autograd_grad_sample_hooks) == hooks
    for module in wrapped.modules():
        assert not getattr(module, "activations", [])
    for parameter in wrapped.parameters():
        assert parameter.grad is None
        assert getattr(parameter, "grad_sample", None) is None
        assert getattr(parameter, "_norm_sample", None) is None
        assert getattr(parameter, "_forward_counter", 0) == 0


@of_every_kind
def test_wrapper_goes_on_working_afterwards(kind: Kind) -> None:
    x, y = kind.draw(), labels(ROWS, CLASSES)
    wrapped = wrapped_with_rules(opacus_compatible(kind.build().train()))
    clipped_gradient(wrapped, PER_SAMPLE_LOSS, x, y, max_norm=1.0)
    PER_SAMPLE_LOSS(wrapped(x), y).mean().backward()
    assert all(len(parameter.grad_sample) == ROWS for parameter in wrapped.parameters())


@of_every_kind
def test_norms_of_a_wrapped_model_are_those_of_the_model(kind: Kind) -> None:
    model, x, y = opacus_compatible(kind.build().train()), kind.draw(), labels(ROWS, CLASSES)
    with without_dropout(model):
        expected = per_sample_norms(model, PER_SAMPLE_LOSS, x, y)
        torch.testing.assert_close(
            per_sample_norms(wrapped_with_rules(model), PER_SAMPLE_LOSS, x, y), expected, rtol=1e-5, atol=0
        )


@pytest.mark.parametrize("unwrapped", [False, True], ids=["still_wrapped", "hooks_removed"])
@of_every_kind
def test_model_that_opacus_trained_is_like_any_other(kind: Kind, unwrapped: bool) -> None:
    x, y = kind.draw(), labels(ROWS, CLASSES)
    model = opacus_compatible(kind.build().train())
    wrapped = wrapped_with_rules(model)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer = DPOptimizer(sgd, noise_multiplier=0.0, max_grad_norm=1.0, expected_batch_size=ROWS)
    for _ in range(2):
        optimizer.zero_grad()
        PER_SAMPLE_LOSS(wrapped(x), y).mean().backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if unwrapped:
        wrapped.remove_hooks()

    fresh = opacus_compatible(kind.build().train())
    with torch.no_grad():
        for to, source in zip(fresh.parameters(), model.parameters(), strict=True):
            to.copy_(source)
    with without_dropout(model), without_dropout(fresh):
        got, norms = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=1.0)
        expected, expected_norms = clipped_gradient(fresh, PER_SAMPLE_LOSS, x, y, max_norm=1.0)
    torch.testing.assert_close(norms, expected_norms, rtol=1e-5, atol=0)
    assert_close(got, expected, tolerance=1e-5)
    assert all(getattr(parameter, "grad_sample", None) is None for parameter in model.parameters())
