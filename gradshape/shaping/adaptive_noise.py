"""Noise whose standard deviation follows the norms of the gradients."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from typing import Self

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.shaping.part import RunningNoise, short
from gradshape.shaping.shaper import Composable


class Statistic(Enum):
    """Which statistic sums up the norms of an epoch."""

    MEAN = "mean"
    #: Of an even number of norms, the lower of the two in the middle.
    MEDIAN = "median"


@dataclass(frozen=True)
class AdaptiveNoise(Composable):
    """Add Gaussian noise whose standard deviation on the sum follows the norms of the previous epoch.

    With the norms ``n_i`` that the parts before it left in epoch ``e``, one for each row of each step,

        m_e = statistic_i min(n_i, max_norm),      std_(e+1) = clip(ratio * m_e, low, high).

    In the first epoch the standard deviation is ``start``. Without ``start`` it follows the rows seen so far, those of
    the present batch included.

    Formal guarantee: with the mean, one sample among ``N`` moves ``m_e`` by at most ``max_norm / N``, or ``C / N``
    behind ``Clip(C)``. Without such a bound a single sample can raise the noise as far as ``high``; the median resists
    this by itself. The noise gives **no differential privacy**: its size tells of the data.

    Edge cases: norms that are not finite after ``max_norm`` do not count; an epoch without rows leaves the standard
    deviation as it is; before any row it is ``low``.

    Args:
        ratio: standard deviation per unit of ``m_e``, > 0 and finite.
        low, high: bounds of the standard deviation, 0 <= low <= high.
        max_norm: > 0; gradients that are longer count as this long.
        statistic: mean or median.
        start: standard deviation of the first epoch, finite and at least 0.

    Raises:
        ValueError: a number is out of its range.

    Hong et al. 2020, "On the effectiveness of mitigating data poisoning attacks with gradient shaping", section 7.2,
    have the idea: https://arxiv.org/abs/2002.11497.

    >>> from gradshape.shaping import Clip
    >>> (Clip(4.0) | AdaptiveNoise(0.01, low=0.001)).label
    'c4_a0.01-low0.001'
    """

    ratio: float
    _: KW_ONLY
    low: float = 0.0
    high: float = math.inf
    max_norm: float = math.inf
    statistic: Statistic = Statistic.MEAN
    start: float | None = None

    def __post_init__(self) -> None:
        _validate.positive(ratio=self.ratio)
        _validate.finite_non_negative(low=self.low, **({} if self.start is None else {"start": self.start}))
        _validate.non_negative(high=self.high)
        _validate.above_zero(max_norm=self.max_norm)
        if self.high < self.low:
            raise ValueError(f"high={self.high!r}: expected at least low={self.low!r}")
        if not isinstance(self.statistic, Statistic):
            raise TypeError(f"statistic={self.statistic!r}: expected one of {', '.join(map(str, Statistic))}")

    @property
    def label(self) -> str:
        label = f"a{short(self.ratio)}"
        if self.statistic is not Statistic.MEAN:
            label += f"-{self.statistic.value}"
        for name, value, default in (
            ("low", self.low, 0.0),
            ("high", self.high, math.inf),
            ("max", self.max_norm, math.inf),
            ("start", self.start, None),
        ):
            if value is not None and value != default:
                label += f"-{name}{short(value)}"
        return label

    @property
    def kind(self) -> Hashable:
        return AdaptiveNoise, self.statistic

    @property
    def keeps_norms(self) -> bool:
        return self.statistic is Statistic.MEDIAN

    @classmethod
    def running(cls, parts: Sequence[Self], *, device: torch.device) -> RunningNoise:
        return _RunningAdaptiveNoise(parts, device=device)


class _RunningAdaptiveNoise:
    def __init__(self, parts: Sequence[AdaptiveNoise], *, device: torch.device) -> None:
        def numbers(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, device=device, dtype=torch.float64)

        self._ratio = numbers([part.ratio for part in parts])
        self._low = numbers([part.low for part in parts])
        self._high = numbers([part.high for part in parts])
        self._max_norm = numbers([part.max_norm for part in parts])
        starts = [part.start for part in parts]
        self._given = torch.tensor([start is not None for start in starts], device=device)
        self._all_given = None not in starts
        self._first_epoch = True
        self._norms = _Mean() if parts[0].statistic is Statistic.MEAN else _Median()
        self.std = torch.where(self._given, numbers([start or 0.0 for start in starts]), self._low)

    def observe(self, norms: Tensor) -> None:
        capped = norms.double().minimum(self._max_norm.unsqueeze(1))
        self._norms.add(torch.where(capped.isfinite(), capped, torch.nan))
        if self._first_epoch and not self._all_given:
            self.std = torch.where(self._given, self.std, self._std_from_norms())

    def end_epoch(self) -> None:
        self.std = self._std_from_norms()
        self._norms = type(self._norms)()
        self._first_epoch = False

    def keep(self, victims: Tensor) -> None:
        self._ratio, self._low, self._high, self._max_norm, self._given, self.std = (
            values[victims] for values in (self._ratio, self._low, self._high, self._max_norm, self._given, self.std)
        )
        self._norms.keep(victims)

    def _std_from_norms(self) -> Tensor:
        size = self._norms.size()
        if size is None:
            return self.std
        scaled = (self._ratio * size).maximum(self._low).minimum(self._high)
        return torch.where(size.isnan(), self.std, scaled)


class _Mean:
    """The mean of the norms seen, NaN where there are none. Sums are float64, so the order of rows hardly matters."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._count: Tensor | None = None

    def add(self, norms: Tensor) -> None:
        total, count = norms.nansum(1), (~norms.isnan()).sum(1)
        self._sum = total if self._sum is None else self._sum + total
        self._count = count if self._count is None else self._count + count

    def size(self) -> Tensor | None:
        return None if self._sum is None or self._count is None else self._sum / self._count

    def keep(self, victims: Tensor) -> None:
        if self._sum is not None and self._count is not None:
            self._sum, self._count = self._sum[victims], self._count[victims]


class _Median:
    """The median of the norms seen, NaN where there are none."""

    def __init__(self) -> None:
        self._seen: list[Tensor] = []

    def add(self, norms: Tensor) -> None:
        if norms.shape[1]:
            self._seen.append(norms)

    def size(self) -> Tensor | None:
        return torch.cat(self._seen, dim=1).nanmedian(dim=1).values if self._seen else None

    def keep(self, victims: Tensor) -> None:
        self._seen = [norms[victims] for norms in self._seen]
