"""Norms are accurate in float32, also where large terms cancel."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from gradshape.clipping import per_sample
from tests.clipping.architectures import (
    ROWS,
    Apply,
    Case,
)
from tests.clipping.cases.losses import LOSSES
from tests.clipping.cases.whole import (
    WHOLE,
    Model,
    ids,
)
from tests.clipping.naive import (
    filled,
    labels,
    norm,
    per_sample_gradients,
    randn,
)


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
