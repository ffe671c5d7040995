"""Under autocast per-sample gradients are those of the loop under the same autocast, within its dtype's rounding."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradshape.clipping import clipped_gradient
from gradshape.shaping import Clip, ShapedLoss
from tests.clipping.naive import PER_SAMPLE_LOSS, Gradients, filled, labels, norm, randn
from tests.clipping.test_inputs import Encoder, call, row, tokens

ROWS, CLASSES = 8, 3
MODELS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "dense": (lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), randn(ROWS, 6).float()),
    "known": (
        lambda: nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.LayerNorm(5), nn.Linear(5, 3)),
        randn(ROWS, 6).float(),
    ),
    "convolutional": (
        lambda: nn.Sequential(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)),
        randn(ROWS, 1, 3, 3).float(),
    ),
    "transformer": (Encoder, tokens(ROWS)),
}
LOSSES: dict[str, Callable[..., Tensor]] = {
    "module": PER_SAMPLE_LOSS,
    "function": lambda out, y: F.cross_entropy(out, y, reduction="none"),
    "squares": lambda out, y: (out.float() - F.one_hot(y, CLASSES)).square().mean(1),
}
every_model = pytest.mark.parametrize(("build", "x"), [pytest.param(*m, id=name) for name, m in MODELS.items()])
dtypes = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])


def loop(model: nn.Module, loss_fn: Callable[..., Tensor], x: Any, y: Tensor, dtype: torch.dtype) -> list[Gradients]:
    found = []
    for n in range(ROWS):
        with torch.autocast("cpu", dtype=dtype):
            loss = loss_fn(call(model, row(x, n)), row(y, n)).sum()
        grads = torch.autograd.grad(loss, list(model.parameters()))
        found.append(dict(zip(dict(model.named_parameters()), grads, strict=True)))
    return found


def clipped(rows: list[Gradients], max_norm: float) -> Gradients:
    weights = [min(1.0, max_norm / float(norm(g))) / ROWS for g in rows]
    return {name: torch.stack([w * g[name] for w, g in zip(weights, rows, strict=True)]).sum(0) for name in rows[0]}


def assert_near(got: Gradients, expected: Gradients, tolerance: float) -> None:
    difference = norm({name: got[name] - expected[name] for name in expected})
    assert float(difference) <= tolerance * float(norm(expected))


@every_model
@dtypes
@pytest.mark.parametrize("loss_fn", LOSSES.values(), ids=LOSSES)
def test_clipped_means_are_those_of_the_loop(
    build: Callable[[], nn.Module], x: Any, dtype: torch.dtype, tolerance: float, loss_fn: Callable[..., Tensor]
) -> None:
    model, y = filled(build()).float(), labels(ROWS, CLASSES)
    rows = loop(model, loss_fn, x, y, dtype)
    for _ in range(3):
        with torch.autocast("cpu", dtype=dtype):
            got, norms = clipped_gradient(model, loss_fn, x, y, max_norm=0.5)
        assert norms.dtype == torch.float32
        assert {g.dtype for g in got.values()} == {torch.float32}
        torch.testing.assert_close(norms.double(), torch.stack(list(map(norm, rows))), rtol=tolerance, atol=0)
        assert_near(got, clipped(rows, 0.5), tolerance)


@every_model
@dtypes
def test_the_wrapped_criterion_gives_the_same(
    build: Callable[[], nn.Module], x: Any, dtype: torch.dtype, tolerance: float
) -> None:
    model, y = filled(build()).float(), labels(ROWS, CLASSES)
    expected = clipped(loop(model, PER_SAMPLE_LOSS, x, y, dtype), 0.5)
    optimizer, scaler = torch.optim.SGD(model.parameters(), lr=1.0), torch.amp.GradScaler("cpu", init_scale=256.0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with ShapedLoss(model, optimizer, nn.CrossEntropyLoss(), shaper=Clip(0.5)) as shaped:
        with torch.autocast("cpu", dtype=dtype):
            loss = shaped(call(model, x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
    assert_near({name: before[name] - p.detach() for name, p in model.named_parameters()}, expected, tolerance)


@every_model
def test_a_scale_is_taken_out_before_gradients_are_clipped(build: Callable[[], nn.Module], x: Any) -> None:
    model, y, scaler = filled(build()).float(), labels(ROWS, CLASSES), torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(torch.zeros(()))
    with torch.autocast("cpu", dtype=torch.float16):
        expected, norms = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=0.5)

        def scaled(out: Tensor, y: Tensor) -> Tensor:
            losses: Tensor = scaler.scale(PER_SAMPLE_LOSS(out, y))
            return losses

        got, scaled_norms = clipped_gradient(model, scaled, x, y, max_norm=0.5 * scaler.get_scale())
    torch.testing.assert_close(scaled_norms / 1024, norms, rtol=0.01, atol=0)
    assert_near({name: g / 1024 for name, g in got.items()}, expected, 0.01)
