"""Scaling every gradient to nearly the same norm."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.shaping.part import RunningWeights, column, short
from gradshape.shaping.shaper import Composable

_STABILIZER = 0.01


@dataclass(frozen=True)
class Normalize(Composable):
    """Scale every per-sample gradient to a norm just below ``max_norm``: ``w = max_norm / (|g| + stabilizer)``.

    Formal guarantee: every scaled gradient is shorter than ``max_norm``, and longer gradients stay longer. Unlike
    clipping, this also makes small gradients longer, up to ``max_norm / stabilizer`` times, so that all samples have
    nearly equal influence, poison among them.

    Edge cases: a zero gradient stays zero; one whose norm overflows to infinity is removed; NaN gives NaN.

    Args:
        max_norm: ``R`` > 0, finite.
        stabilizer: ``gamma`` > 0, finite; the larger it is, the more the lengths of short gradients still differ.

    Raises:
        ValueError: a number is not finite or not greater than 0.

    Bu et al. 2023, "Automatic clipping: differentially private deep learning made easier and stronger", equation 4.4:
    https://arxiv.org/abs/2206.07136.

    >>> Normalize(2.0, stabilizer=1.0).weights(torch.tensor([0.0, 1.0, 3.0]))
    tensor([2.0000, 1.0000, 0.5000])
    """

    samplewise: ClassVar[bool] = True
    learns: ClassVar[bool] = False

    max_norm: float = 1.0
    stabilizer: float = _STABILIZER

    def __post_init__(self) -> None:
        _validate.positive(max_norm=self.max_norm, stabilizer=self.stabilizer)

    @property
    def label(self) -> str:
        return f"n{short(self.max_norm)}" + ("" if self.stabilizer == _STABILIZER else f"-{short(self.stabilizer)}")

    @property
    def kind(self) -> Hashable:
        return Normalize

    def weights(self, norms: Tensor) -> Tensor:
        """Map ``(..., B)`` norms to ``(..., B)`` weights in [0, max_norm / stabilizer]."""
        return self.max_norm / (norms + self.stabilizer)

    def bound(self, before: float) -> float:
        """Return the largest norm that is left of gradients of norm ``before`` at most."""
        return self.max_norm if before == float("inf") else self.max_norm * (before / (before + self.stabilizer))

    @classmethod
    def over(cls, parts: Sequence[Self], *, device: torch.device, dtype: torch.dtype) -> RunningWeights:
        return _RunningNormalize(
            column([part.max_norm for part in parts], device=device, dtype=dtype),
            column([part.stabilizer for part in parts], device=device, dtype=dtype),
        )


class _RunningNormalize:
    def __init__(self, max_norm: Tensor, stabilizer: Tensor) -> None:
        self._max_norm = max_norm
        self._stabilizer = stabilizer

    def weights(self, norms: Tensor) -> Tensor:
        stabilized = norms + self._stabilizer
        return torch.div(self._max_norm, stabilized, out=stabilized)

    def observe(self, norms: Tensor) -> None:
        pass

    def keep(self, victims: Tensor) -> None:
        self._max_norm = self._max_norm[victims]
        self._stabilizer = self._stabilizer[victims]
