"""Small architectures beyond the paper's: what stacks of models have to cope with."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gradshape import models
from gradshape.models import Classifier


class Tokens(nn.Module):
    """Rows of numbers in [0, 1] as rows of token ids."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * 8).long()


def _filled(model: Classifier) -> Classifier:
    """With parameters that do not depend on the process's generator, as not all layers are initialised by ``build``."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return model


def transformer(input_shape: tuple[int, ...], num_classes: int) -> Classifier:
    block = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True)
    body = nn.Sequential(nn.Flatten(), Tokens(), nn.Embedding(9, 8), block, nn.Flatten())
    length = int(torch.Size(input_shape).numel())
    return _filled(Classifier(body, nn.Linear(8 * length, num_classes)))


def normalised(input_shape: tuple[int, ...], num_classes: int) -> Classifier:
    channels, height, width = input_shape
    first, frozen = nn.Conv2d(channels, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
    frozen.requires_grad_(False)
    body = nn.Sequential(first, nn.GroupNorm(2, 4), nn.Tanh(), frozen, nn.AvgPool2d(2), nn.Flatten())
    return _filled(Classifier(body, nn.Linear(4 * (height // 2) * (width // 2), num_classes)))


ARCHITECTURES: dict[str, Callable[[tuple[int, ...], int], nn.Module]] = {
    "cnn": models.builder("cnn"),
    "transformer": transformer,
    "normalised": normalised,
}
