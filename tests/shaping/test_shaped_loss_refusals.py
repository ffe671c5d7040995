"""What a loop cannot mean is refused, with what was expected."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradshape.shaping import Clip, Noise, ShapedLoss
from tests.clipping.naive import PER_SAMPLE_LOSS, filled
from tests.shaping.loops import ROWS, Batch, call, every_model, lr, mlp, rows


def shaped_mlp(**options: Any) -> tuple[nn.Module, torch.optim.Optimizer, ShapedLoss]:
    model = filled(mlp())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    chosen: dict[str, Any] = {"criterion": nn.CrossEntropyLoss(), "shaper": Clip(1.0)} | options
    return model, optimizer, ShapedLoss(model, optimizer, chosen.pop("criterion"), **chosen)


def test_what_is_not_the_output_of_the_last_call_is_refused_with_a_remedy() -> None:
    model, _, shaped = shaped_mlp()
    x, y = rows(0)
    first = model(x)
    with pytest.raises(ValueError, match=r"not what the model returned in its last call.*put what lies between"):
        shaped(2 * first, y)
    model(x)
    with pytest.raises(ValueError, match="not what the model returned in its last call"):
        shaped(first, y)
    out = model(x)
    shaped(out, y)
    with pytest.raises(ValueError, match=r"in its last call.*once"):
        shaped(out, y)


@every_model
def test_gradients_beside_the_criterion_are_an_error(
    build: Callable[[], nn.Module], batch: Callable[[int], Batch]
) -> None:
    model, (x, y) = filled(build()), batch(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with ShapedLoss(model, optimizer, nn.CrossEntropyLoss(), shaper=Clip(1.0)) as shaped:
        out = call(model, x)
        loss = shaped(out, y)
        with pytest.raises(RuntimeError, match=r"beside the criterion|second time"):
            (loss + out.square().sum()).backward()


def test_what_cannot_be_shaped_is_refused() -> None:
    model, (x, y) = filled(mlp()), rows(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"generator=None: expected a torch\.Generator"):
        ShapedLoss(model, optimizer, PER_SAMPLE_LOSS, shaper=Noise(1.0))
    with pytest.raises(ValueError, match=r"optimizer: 2 of the parameters in its group 0 are not the model's"):
        ShapedLoss(lr(), torch.optim.SGD(lr().parameters(), lr=1.0), PER_SAMPLE_LOSS, shaper=Clip(1.0))
    with pytest.raises(ValueError, match="divides by the weights of the classes"):
        ShapedLoss(model, optimizer, nn.CrossEntropyLoss(torch.ones(3)), shaper=Clip(1.0))
    with (
        ShapedLoss(model, optimizer, PER_SAMPLE_LOSS, shaper=Clip(1.0)),
        pytest.raises(ValueError, match="the gradients of this Sequential are shaped already"),
    ):
        ShapedLoss(model, optimizer, PER_SAMPLE_LOSS, shaper=Clip(1.0))
    with (
        ShapedLoss(model, optimizer, lambda out, y: F.cross_entropy(out, y), shaper=Clip(1.0)) as shaped,
        pytest.raises(ValueError, match="expected one loss per sample"),
    ):
        shaped(model(x), y)
    mixing = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).double()
    with (
        ShapedLoss(mixing, torch.optim.SGD(mixing.parameters(), lr=0.1), PER_SAMPLE_LOSS, shaper=Clip(1.0)),
        pytest.raises(ValueError, match=r"mixes samples.*GroupNorm"),
    ):
        mixing(x)


@every_model
def test_the_first_sample_without_a_finite_gradient_is_named(
    build: Callable[[], nn.Module], batch: Callable[[int], Batch]
) -> None:
    model, (x, y) = filled(build()), batch(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    factors = torch.ones(ROWS, dtype=torch.float64).index_fill(0, torch.tensor([2, 4]), math.inf)

    def loss_fn(out: Tensor, y: Tensor, factors: Tensor) -> Tensor:
        losses: Tensor = PER_SAMPLE_LOSS(out, y) * factors
        return losses

    with (
        ShapedLoss(model, optimizer, loss_fn, shaper=Clip(1.0)) as shaped,
        pytest.raises(FloatingPointError, match="the gradient of sample 2 is not finite"),
    ):
        shaped(call(model, x), y, factors)


def test_inputs_that_were_written_to_are_refused() -> None:
    model, _, shaped = shaped_mlp()
    x, y = rows(0)
    out = model(x)
    x.add_(1)
    with pytest.raises(ValueError, match="the inputs were written to since"):
        shaped(out, y)
