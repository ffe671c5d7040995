"""A network: layers whose outputs open and close each other, with parameters that no rule of the library knows."""

import torch
from torch import Tensor, nn


class Gated(nn.Module):
    """Two layers, one of which gates the other."""

    def __init__(self, input_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.value, self.gate = (nn.Linear(input_shape[0], 32) for _ in range(2))
        self.temperature = nn.Parameter(torch.ones(32))
        self.last = nn.Linear(32, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.value(x)) * torch.sigmoid(self.temperature * self.gate(x))
        scores: Tensor = self.last(hidden)
        return scores
