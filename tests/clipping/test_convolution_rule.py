"""Samples that are taken as groups of one convolution give what a loop over single rows gives."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradshape.clipping.rules import _conv
from gradshape.clipping.rules._conv import ConvRule
from gradshape.clipping.rules.base import Call

Layer = Any

# Layers whose samples are taken as groups, and the shape of a row.
AS_GROUPS: dict[str, tuple[Callable[[], Layer], tuple[int, ...]]] = {
    "paper": (partial(nn.Conv2d, 16, 32, 3, padding=1), (16, 12, 12)),
    "no-bias": (partial(nn.Conv2d, 8, 8, 3, bias=False), (8, 9, 9)),
    "stride": (partial(nn.Conv2d, 8, 16, 3, stride=2, padding=1), (8, 15, 15)),
    "stride-leaves-a-rest": (partial(nn.Conv2d, 8, 16, (3, 2), stride=(3, 2)), (8, 16, 15)),
    "not-square": (partial(nn.Conv2d, 16, 8, (1, 5), padding=(0, 2)), (16, 8, 11)),
    "groups": (partial(nn.Conv2d, 16, 32, 3, groups=2, padding=1), (16, 12, 12)),
    "depthwise": (partial(nn.Conv2d, 6, 6, 3, groups=6, padding=1), (6, 8, 8)),
    "same": (partial(nn.Conv2d, 8, 8, (5, 3), padding="same"), (8, 10, 10)),
    "reflect": (partial(nn.Conv2d, 8, 8, 3, padding=1, padding_mode="reflect"), (8, 10, 10)),
    "1d": (partial(nn.Conv1d, 8, 16, 3, padding=1), (8, 40)),
    "3d": (partial(nn.Conv3d, 8, 8, 3, padding=1), (8, 6, 6, 6)),
}
# Layers that are not: channels that do not divide, a kernel of 1, dilation, and more weights than pay.
BY_PRODUCTS: dict[str, tuple[Callable[[], Layer], tuple[int, ...]]] = {
    "three-channels": (partial(nn.Conv2d, 3, 16, 3), (3, 12, 12)),
    "kernel-1": (partial(nn.Conv2d, 16, 16, 1), (16, 16, 16)),
    "dilation": (partial(nn.Conv2d, 8, 8, 3, dilation=2), (8, 16, 16)),
    "many-weights": (partial(nn.Conv2d, 64, 64, 3, padding=1), (64, 20, 20)),
}
BATCH = 5


def batch(layer: Layer, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, *shape, generator=generator)
    with torch.no_grad():
        return x, torch.randn(layer(x).shape, generator=generator)


def formed(layer: Layer, x: Tensor, backprops: Tensor) -> dict[str, Tensor]:
    """Return the per-sample gradients of the rule."""
    found = ConvRule().gradients(layer, Call(x, backprops, torch.float32), keep=True)
    return {
        name: torch.stack([found.weighted_sum(row)[name] for row in torch.eye(len(x))])
        for name, _ in layer.named_parameters()
    }


def of_the_loop(layer: Layer, x: Tensor, backprops: Tensor) -> dict[str, Tensor]:
    layer, x, backprops = layer.double(), x.double(), backprops.double()
    rows = [
        torch.autograd.grad((layer(x[row : row + 1]) * backprops[row : row + 1]).sum(), list(layer.parameters()))
        for row in range(len(x))
    ]
    return {
        name: torch.stack([row[place] for row in rows]).float()
        for place, (name, _) in enumerate(layer.named_parameters())
    }


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls of either way of forming gradients, as they come."""
    taken: list[str] = []

    def noted(name: str) -> None:
        was = getattr(_conv, name)

        def note(*args: Any, **kwargs: Any) -> Any:
            taken.append(name)
            return was(*args, **kwargs)

        monkeypatch.setattr(_conv, name, note)

    for name in ("_weight_gradients_of_rows", "_form"):
        noted(name)
    return taken


def check_way(of: tuple[Callable[[], Layer], tuple[int, ...]], way: str, ways: list[str]) -> None:
    """Check that a layer's gradients are formed in this way alone, and are those of the loop."""
    build, shape = of
    layer = build()
    x, backprops = batch(layer, shape)
    found = formed(layer, x, backprops)
    assert set(ways) == {way}
    torch.testing.assert_close(found, of_the_loop(layer, x, backprops), rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this build of torch has no oneDNN")
@pytest.mark.parametrize("of", AS_GROUPS.values(), ids=AS_GROUPS)
def test_samples_as_groups_give_what_the_loop_gives(of: Any, ways: list[str]) -> None:
    check_way(of, "_weight_gradients_of_rows", ways)


@pytest.mark.parametrize("of", BY_PRODUCTS.values(), ids=BY_PRODUCTS)
def test_others_are_formed_by_products(of: Any, ways: list[str]) -> None:
    check_way(of, "_form", ways)


@pytest.mark.parametrize("of", AS_GROUPS.values(), ids=AS_GROUPS)
def test_without_onednn_products_give_the_same(of: Any, ways: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    check_way(of, "_form", ways)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this build of torch has no oneDNN")
def test_rows_in_channels_last_and_one_row_are_groups_too(ways: list[str]) -> None:
    build, shape = AS_GROUPS["paper"]
    layer = build()
    x, backprops = batch(layer, shape)
    expected = of_the_loop(layer, x, backprops)
    layer.float()
    last = x.to(memory_format=torch.channels_last), backprops.to(memory_format=torch.channels_last)
    torch.testing.assert_close(formed(layer, *last), expected, rtol=1e-4, atol=1e-4)
    first = {name: value[:1] for name, value in expected.items()}
    torch.testing.assert_close(formed(layer, x[:1], backprops[:1]), first, rtol=1e-4, atol=1e-4)
    assert set(ways) == {"_weight_gradients_of_rows"}


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this build of torch has no oneDNN")
def test_float64_is_formed_by_products(ways: list[str]) -> None:
    build, shape = AS_GROUPS["paper"]
    layer = build()
    x, backprops = batch(layer, shape)
    formed(layer.double(), x.double(), backprops.double())
    assert set(ways) == {"_form"}
