"""Gaussian noise, drawn for each victim from its own seed."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradshape import _seeds
from gradshape.shaping import Shaper

# Draws at a time. How many steps one block covers depends on the size of the model alone, so that a victim's
# noise is the same alone and in every stack.
_BLOCK = 1 << 16


def steps_per_block(size: int) -> int:
    """Number of steps that the noise of a model of ``size`` parameters is drawn for at a time."""
    return max(1, _BLOCK // size)


class NoiseBlocks:
    """The noise of ``n`` victims with models of ``size`` parameters, block by block.

    Args:
        shapers, seeds: one a victim.
        size: number of parameters.
    """

    def __init__(self, shapers: Sequence[Shaper], seeds: Sequence[int], size: int) -> None:
        self._stds = [None if shaper.adaptive_noises else shaper.noise_std for shaper in shapers]
        self._streams = [_seeds.stream(seed, "noise") for seed in seeds]
        self._size = size
        self.steps = steps_per_block(size)

    @property
    def adaptive(self) -> list[bool]:
        """Of which victims the draws are still to be scaled."""
        return [std is None for std in self._stds]

    def draw(self, *, divisor: int, like: Tensor) -> Tensor:
        """``(steps, n, size)`` draws of standard deviation ``std / divisor``: equal in every dtype, on every device.

        Those of a victim whose noise follows its gradients have standard deviation 1.
        """
        draws = torch.empty(self.steps, len(self._stds), self._size)
        for k, (std, stream) in enumerate(zip(self._stds, self._streams, strict=True)):
            draws[:, k] = torch.randn(self.steps, self._size, generator=stream)
            if std is not None:
                draws[:, k] *= std / divisor
        return draws.to(device=like.device, dtype=like.dtype)

    def keep(self, victims: Sequence[int]) -> None:
        """Go on with these victims only, in this order."""
        self._stds = [self._stds[k] for k in victims]
        self._streams = [self._streams[k] for k in victims]
