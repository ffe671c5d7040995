"""Gaussian noise, drawn for each victim from its own seed."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gradshape import _seeds
from gradshape.shaping import Shaper

# Numbers that are drawn at a time. How many steps one block covers depends on the size of the model alone, so that a
# victim's noise is the same alone and in every stack.
_BLOCK = 1 << 16


def steps_per_block(size: int) -> int:
    """Return for how many steps at a time the noise of a model of ``size`` parameters is drawn."""
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
        """For each victim, whether its draws have yet to be scaled, as its noise follows its gradients."""
        return [std is None for std in self._stds]

    def draw(self, *, divisor: int, like: Tensor) -> Tensor:
        """Return ``(steps, n, size)`` draws of standard deviation ``std / divisor``, the same on every device.

        Those of a victim whose noise follows its gradients have standard deviation 1.
        """
        (draws,) = self.laid_out(lambda draws: [draws], divisor=divisor, like=like)
        return draws

    def laid_out(self, layout: Callable[[Tensor], list[Tensor]], *, divisor: int, like: Tensor) -> list[Tensor]:
        """Return draws as :meth:`draw` does, in the parts ``(steps, n, ...)`` that ``layout`` divides them into.

        ``layout`` is given the draws of one victim at a time, while they are in the processor's cache.
        """
        parts: list[Tensor] = []
        for k, (std, stream) in enumerate(zip(self._stds, self._streams, strict=True)):
            own = torch.randn(self.steps, 1, self._size, generator=stream, dtype=torch.float32)
            if std is not None:
                own *= std / divisor
            own_parts = layout(own.to(like.dtype))
            if not parts:
                parts = [part.new_empty(len(part), len(self._stds), *part.shape[2:]) for part in own_parts]
            for whole, part in zip(parts, own_parts, strict=True):
                whole[:, k] = part[:, 0]
        return [part.to(like.device) for part in parts]

    def keep(self, victims: Sequence[int]) -> None:
        """Go on with these victims only, in this order."""
        self._stds = [self._stds[k] for k in victims]
        self._streams = [self._streams[k] for k in victims]
