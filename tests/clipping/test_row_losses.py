"""Losses of models of known layers are differentiated apart from the model where that is exact, and checked."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradshape.clipping import _row_losses, clipped_gradient, per_sample_norms
from tests.clipping.architectures import Case, loop
from tests.clipping.cases.losses import LOSSES
from tests.clipping.naive import (
    PER_SAMPLE_LOSS,
    assert_equal,
    clipped_mean,
    filled,
    labels,
    norm,
    per_sample_gradients,
    randn,
)

ROWS, CLASSES = 6, 3


def dense() -> nn.Module:
    return filled(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, CLASSES)))


def convolutional() -> nn.Module:
    return filled(nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Conv1d(2, 4, 1), nn.Flatten(), nn.Linear(8, CLASSES)))


def embedded() -> nn.Module:
    return filled(nn.Sequential(nn.Conv1d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, CLASSES)))


def batch(model: nn.Module, rows: int = ROWS, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    x = randn(rows, 4, seed=seed)
    return (x.unsqueeze(1) if isinstance(model[0], nn.Conv1d) else x), labels(rows, CLASSES, seed=seed)  # type: ignore[index]


known_layers = pytest.mark.parametrize("build", [dense, embedded])
every_model = pytest.mark.parametrize("build", [dense, convolutional, embedded])


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of rows of the losses that were checked."""
    seen: list[int] = []
    check = _row_losses._Check.passes

    def counted(self: _row_losses._Check) -> bool:
        seen.append(len(self._leaf))
        return check(self)

    monkeypatch.setattr(_row_losses._Check, "passes", counted)
    return seen


def agrees(model: nn.Module, loss_fn: Callable[..., Tensor], *, steps: int = 3, rows: int = ROWS) -> None:
    for seed in range(steps):
        x, y = batch(model, rows, seed=seed)
        got, norms = clipped_gradient(model, loss_fn, x, y, max_norm=0.3)
        expected, expected_norms = clipped_mean(model, loss_fn, x, y, 0.3)
        torch.testing.assert_close(norms, expected_norms, rtol=1e-9, atol=1e-9)
        assert_equal(got, expected)


LAMBDAS: dict[str, Callable[..., Tensor]] = {
    "cross-entropy": lambda out, y: F.cross_entropy(out, y, reduction="none"),
    "likelihood": lambda out, y: F.nll_loss(out.log_softmax(1), y, reduction="none"),
    "smoothed": lambda out, y: F.cross_entropy(out, y, reduction="none", label_smoothing=0.1),
    "an-ignored-class": lambda out, y: F.cross_entropy(out, y, reduction="none", ignore_index=1),
    "halved": lambda out, y: F.cross_entropy(out, y, reduction="none") / 2,
    "margin": lambda out, y: F.multi_margin_loss(out, y, reduction="none"),
    "partial": partial(F.cross_entropy, reduction="none"),
    "one-logit": lambda out, y: F.binary_cross_entropy_with_logits(
        out[:, 0], y.clamp(max=1).double(), reduction="none"
    ),
    "constant": lambda out, y: y.double(),
}


@every_model
@pytest.mark.parametrize("loss_fn", LAMBDAS.values(), ids=LAMBDAS)
def test_gradients_are_those_of_the_loop(build: Callable[[], nn.Module], loss_fn: Callable[..., Tensor]) -> None:
    agrees(build(), loss_fn, steps=5)


@pytest.mark.parametrize("of", [pytest.param(of, id=name) for name, of in LOSSES.items()])
def test_losses_of_all_kinds_agree_at_every_call(of: Case) -> None:
    model, expected = of.model(), torch.stack([norm(gradient) for gradient in loop(of)])
    for _ in range(5):
        torch.testing.assert_close(per_sample_norms(model, of.loss_fn, of.x, of.y), expected)


@known_layers
def test_a_loss_is_checked_once(build: Callable[[], nn.Module], checks: list[int]) -> None:
    for name in ("cross-entropy", "halved"):
        checks.clear()
        agrees(build(), LAMBDAS[name], steps=70)
        assert checks == [ROWS]


@known_layers
def test_a_loss_that_is_made_anew_at_every_step_is_checked_once(
    build: Callable[[], nn.Module], checks: list[int]
) -> None:
    model = build()
    for _ in range(20):
        agrees(model, lambda out, y: F.cross_entropy(2 * out, y, reduction="none"), steps=1)
    assert checks == [ROWS]


def mixing(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out - out.mean(0), y, reduction="none")


def mixing_in_gradients_alone(out: Tensor, y: Tensor) -> Tensor:
    mean = out.mean()
    return F.cross_entropy(out, y, reduction="none") + mean - mean.detach()


@every_model
@pytest.mark.parametrize("loss_fn", [mixing, mixing_in_gradients_alone])
def test_a_loss_that_mixes_rows_is_refused_or_taken_apart(
    build: Callable[[], nn.Module], loss_fn: Callable[..., Tensor]
) -> None:
    model = build()
    if loss_fn is mixing:
        for _ in range(3):
            with pytest.raises(ValueError, match=r"the loss of row \d is .* apart from them"):
                per_sample_norms(model, loss_fn, *batch(model))
    else:
        agrees(model, loss_fn)


class Switched:
    """A loss that begins to mix rows when it is told to."""

    def __init__(self) -> None:
        self.mixes = False

    def __call__(self, out: Tensor, y: Tensor) -> Tensor:
        return mixing(out, y) if self.mixes else F.cross_entropy(out, y, reduction="none")


@every_model
def test_a_loss_that_begins_to_mix_rows_is_refused(build: Callable[[], nn.Module]) -> None:
    model, loss_fn = build(), Switched()
    agrees(model, loss_fn)
    loss_fn.mixes = True
    with pytest.raises(ValueError, match=r"the loss of row \d"):
        per_sample_norms(model, loss_fn, *batch(model))
    loss_fn.mixes = False
    agrees(model, loss_fn)


@every_model
def test_a_loss_that_depends_on_the_parameters_in_other_ways_is_exact(build: Callable[[], nn.Module]) -> None:
    model = build()
    weight = next(model.parameters())
    agrees(model, lambda out, y: F.cross_entropy(out, y, reduction="none") + 0.1 * weight.square().sum())


@every_model
def test_a_loss_that_counts_its_calls_counts_one_a_batch(build: Callable[[], nn.Module]) -> None:
    class Counting:
        calls = 0

        def __call__(self, out: Tensor, y: Tensor) -> Tensor:
            self.calls += 1
            return F.cross_entropy(out, y, reduction="none")

    model, loss_fn = build(), Counting()
    for n in range(1, 6):
        per_sample_norms(model, loss_fn, *batch(model))
        assert loss_fn.calls == n


@every_model
def test_a_loss_that_draws_random_numbers_has_the_same_for_norms_and_sum(build: Callable[[], nn.Module]) -> None:
    def noisy(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out + torch.randn_like(out), y, reduction="none")

    model = build()
    with torch.random.fork_rng(devices=[]):
        for rows in (1, ROWS):
            x, y = batch(model, rows)
            only, norms = clipped_gradient(model, noisy, x, y, max_norm=1e9)
            assert norms.isfinite().all()
            assert rows > 1 or norm(only) == pytest.approx(float(norms[0]))


def test_settings_of_a_loss_module_that_a_function_calls_count() -> None:
    model, inner = dense(), nn.CrossEntropyLoss(reduction="none")

    def loss_fn(out: Any, y: Tensor) -> Tensor:
        losses: Tensor = inner(out, y)
        return losses

    for smoothing in (0.0, 0.3, 0.0):
        inner.label_smoothing = smoothing
        agrees(model, loss_fn)


def test_hooks_on_logits_count() -> None:
    model = dense()

    def doubling(out: Tensor, y: Tensor) -> Tensor:
        out.register_hook(lambda grad: 2 * grad)
        return F.cross_entropy(out, y, reduction="none")

    agrees(model, doubling)


def test_ignored_rows_come_and_go() -> None:
    model = dense()
    for ignored in (0, 2, 0, 1):
        x, y = batch(model)
        y[:ignored] = -100
        rows = per_sample_gradients(model, PER_SAMPLE_LOSS, x, y)
        got = per_sample_norms(model, lambda out, y: F.cross_entropy(out, y, reduction="none"), x, y)
        torch.testing.assert_close(got, torch.stack([norm(gradient) for gradient in rows]))
