"""Clipping to a fixed norm."""

from collections.abc import Hashable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.clipping import clip_weights
from gradshape.shaping.part import RunningWeights, column, short
from gradshape.shaping.shaper import Composable


@dataclass(frozen=True)
class Clip(Composable):
    """Scale every per-sample gradient down to norm ``max_norm`` at most: ``w = min(1, max_norm / |g|)``.

    Args:
        max_norm: clipping norm ``C`` in [0, inf]. 0 removes the gradient, infinity leaves it as it is.
        per_layer: clip each of the ``L`` layers to ``C / sqrt(L)`` instead of all of them together to ``C``, so that
            the whole has norm ``C`` at most either way. A layer is a module that owns trainable parameters; its weight
            and bias count together.

    Raises:
        ValueError: ``max_norm`` is negative or NaN.

    Abadi et al. 2016, "Deep learning with differential privacy", Algorithm 1; per layer: McMahan et al. 2018,
    "Learning differentially private recurrent language models", section 3.

    >>> Clip(2.0).weights(torch.tensor([0.0, 1.0, 4.0]))
    tensor([1.0000, 1.0000, 0.5000])
    >>> Clip(2.0, per_layer=True).weights(torch.tensor([[1.0], [2.0], [4.0], [8.0]])).flatten()
    tensor([1.0000, 0.5000, 0.2500, 0.1250])
    """

    samplewise: ClassVar[bool] = True
    learns: ClassVar[bool] = False

    max_norm: float
    _: KW_ONLY
    per_layer: bool = False

    def __post_init__(self) -> None:
        _validate.non_negative(max_norm=self.max_norm)

    @property
    def label(self) -> str:
        return f"c{short(self.max_norm)}" + ("-layer" if self.per_layer else "")

    @property
    def kind(self) -> Hashable:
        return Clip, self.per_layer

    def weights(self, norms: Tensor) -> Tensor:
        """Map ``(..., B)`` norms, or ``(L, ..., B)`` if ``per_layer``, to as many weights in [0, 1]."""
        return clip_weights(norms, self.max_norm / max(1, len(norms)) ** 0.5 if self.per_layer else self.max_norm)

    def bound(self, before: float) -> float:
        """Return the largest norm that is left of gradients of norm ``before`` at most."""
        return min(before, self.max_norm)

    @classmethod
    def over(cls, parts: Sequence[Self], *, device: torch.device, dtype: torch.dtype) -> RunningWeights:
        limits = column([part.max_norm for part in parts], device=device, dtype=dtype)
        return _RunningClip(limits, per_layer=parts[0].per_layer)


class _RunningClip:
    """Clipping of ``k`` victims, each to its own of the ``(k, 1)`` clipping norms ``limits``."""

    def __init__(self, limits: Tensor, *, per_layer: bool) -> None:
        self._limits = limits
        self._per_layer = per_layer

    def weights(self, norms: Tensor) -> Tensor:
        limits = self._limits / len(norms) ** 0.5 if self._per_layer else self._limits
        return clip_in_place(norms.clone(), limits)

    def observe(self, norms: Tensor) -> None:
        pass

    def keep(self, victims: Tensor) -> None:
        self._limits = self._limits[victims]


def clip_in_place(norms: Tensor, limits: Tensor) -> Tensor:
    """Write the weights of :func:`gradshape.clipping.clip_weights` over ``norms``, with one limit a row.

    A norm that overflowed counts as the largest number, so that an infinite limit leaves its gradient as it is.
    """
    numbers = torch.finfo(norms.dtype)
    return torch.div(limits, norms.clamp_(numbers.tiny, numbers.max), out=norms).clamp_max_(1)
