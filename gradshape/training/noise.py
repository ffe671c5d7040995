"""Gaussian noise, drawn for each victim from its own seed."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradshape import _seeds
from gradshape.training.victim import Victim

# Draws at a time. How many steps one block covers depends on the size of the model alone, so that a victim's
# noise is the same alone and in every stack.
_BLOCK = 1 << 16


class NoiseBlocks:
    """The noise of ``n`` victims with models of ``size`` parameters, block by block."""

    def __init__(self, victims: Sequence[Victim], size: int) -> None:
        self._stds = [victim.recipe.shaper.noise_std for victim in victims]
        self._streams = [_seeds.stream(victim.seed, "noise") for victim in victims]
        self._size = size
        self.steps = max(1, _BLOCK // size)

    def draw(self, *, divisor: int, like: Tensor) -> Tensor:
        """``(steps, n, size)`` draws of standard deviation ``std / divisor``: equal in every dtype, on every device."""
        draws = torch.empty(self.steps, len(self._stds), self._size)
        for k, (std, stream) in enumerate(zip(self._stds, self._streams, strict=True)):
            draws[:, k] = torch.randn(self.steps, self._size, generator=stream)
            draws[:, k] *= std / divisor
        return draws.to(device=like.device, dtype=like.dtype)
