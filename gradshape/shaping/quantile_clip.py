"""Clipping to a norm that follows a quantile of the gradients' norms."""

from collections.abc import Hashable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.clipping import clip_weights
from gradshape.shaping.clip import clip_in_place
from gradshape.shaping.part import RunningWeights, column, short
from gradshape.shaping.shaper import Composable

_START, _RATE = 0.1, 0.2


@dataclass(frozen=True)
class QuantileClip(Composable):
    """Clip to a norm ``C`` that moves to a quantile of the norms: ``C <- C exp(-rate (b - quantile))`` after each step.

    Here ``b`` is the fraction of the batch's norms that are at most ``C``. Every victim has its own ``C``. This gives
    no differential privacy, as ``b`` is used without the noise of the paper.

    Edge cases: a batch without rows leaves ``C`` as it is; norms that are not finite do not count; ``C`` stays within
    the positive numbers of the norms' dtype.

    Args:
        quantile: in [0, 1]: the fraction of gradients that are left as they are once ``C`` has settled.
        start: ``C`` of the first step, > 0 and finite.
        rate: how far ``C`` moves in a step, > 0 and finite.

    Raises:
        ValueError: a number is out of its range.

    Andrew et al. 2021, "Differentially private learning with adaptive clipping", equation 3:
    https://arxiv.org/abs/1905.03871. The defaults are the paper's.

    >>> QuantileClip(0.5, start=2.0).weights(torch.tensor([0.0, 1.0, 4.0]))
    tensor([1.0000, 1.0000, 0.5000])
    """

    samplewise: ClassVar[bool] = True
    learns: ClassVar[bool] = True

    quantile: float
    _: KW_ONLY
    start: float = _START
    rate: float = _RATE

    def __post_init__(self) -> None:
        _validate.fraction(quantile=self.quantile)
        _validate.positive(start=self.start, rate=self.rate)

    @property
    def label(self) -> str:
        rate = "" if self.rate == _RATE else f"-r{short(self.rate)}"
        return f"q{short(self.quantile)}-c{short(self.start)}{rate}"

    @property
    def kind(self) -> Hashable:
        return QuantileClip

    def weights(self, norms: Tensor) -> Tensor:
        """Map ``(..., B)`` norms to the ``(..., B)`` weights of the first step, in [0, 1]."""
        return clip_weights(norms, self.start)

    @classmethod
    def over(cls, parts: Sequence[Self], *, device: torch.device, dtype: torch.dtype) -> RunningWeights:
        return _RunningQuantileClip(
            column([part.start for part in parts], device=device, dtype=dtype),
            column([part.quantile for part in parts], device=device, dtype=dtype),
            column([part.rate for part in parts], device=device, dtype=dtype),
        )


class _RunningQuantileClip:
    def __init__(self, limits: Tensor, quantile: Tensor, rate: Tensor) -> None:
        self._limits = limits
        self._quantile = quantile
        self._rate = rate

    def weights(self, norms: Tensor) -> Tensor:
        return clip_in_place(norms.clone(), self._limits)

    def observe(self, norms: Tensor) -> None:
        finite = norms.isfinite()
        count = finite.sum(1, keepdim=True)
        below = ((norms <= self._limits) & finite).sum(1, keepdim=True).to(norms.dtype)
        factor = ((self._quantile - below / count.clamp_min(1)) * self._rate).exp()
        numbers = torch.finfo(norms.dtype)
        moved = (self._limits * factor).clamp(numbers.tiny, numbers.max)
        self._limits = torch.where(count > 0, moved, self._limits)

    def keep(self, victims: Tensor) -> None:
        self._limits, self._quantile, self._rate = (
            values[victims] for values in (self._limits, self._quantile, self._rate)
        )
