"""What the first look at an architecture says of a network that cannot be trained or tried."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from gradshape import models
from gradshape.testing._datasets import blobs
from gradshape.training import SGD, Recipe, Victim, train_victims

NAME = "first_look_net"


class Hooked(nn.Module):
    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.out = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(x.flatten(1))
        out.register_hook(torch.clone)
        return out


class OneSize(nn.Module):
    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.out = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(x.view(6, -1))
        return out


def frozen(features: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(features, classes)).requires_grad_(False)


def without(features: int, classes: int) -> nn.Module:
    return nn.Flatten()


def words(features: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(3 * features, classes))


class Wide(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1).double())


def wide(features: int, classes: int) -> nn.Module:
    return Wide(features, classes).double()


@pytest.fixture
def registered() -> Iterator[None]:
    yield
    models._BUILDERS.pop(NAME, None)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (without, "has no trainable parameters"),
        (frozen, "has no trainable parameters"),
        (Hooked, r"raised RuntimeError .* without gradients: expected .*requires_grad"),
        (OneSize, r"raised RuntimeError .*for rows \(2, .*\) of float32.*: expected .* any number of rows$"),
        (words, r"raised RuntimeError .*: expected .* any number of rows; x\.long\(\) makes ids of words out of rows"),
        (wide, r"raised RuntimeError .*: expected a network with parameters of float32"),
    ],
)
def test_the_network_is_named(build: type[nn.Module], message: str) -> None:
    models.register(NAME, lambda shape, classes: build(torch.Size(shape).numel(), classes))
    with pytest.raises(ValueError, match=f"model '{NAME}' {message}"):
        train_victims(blobs(), [Victim(Recipe(NAME, SGD(0.1), batch_size=4, epochs=1), 0)])
