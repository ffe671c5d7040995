"""How much larger one measurement is than another: point estimates, intervals, and how likely chance makes such a one.

The point estimate of a difference is that of the second measurement less the first.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from functools import cached_property, lru_cache

from scipy import special
from scipy.optimize import brentq

from gradshape.metrics import wilson_bounds

# Standard normal quantile beyond which there is no chance that a float could tell from none.
_FAR = 40.0
# What rounding makes of two numbers that are equal.
_ROUNDING = 1e-12


class Basis(Enum):
    """What a comparison of two measurements rests on; the value is what a table says of it."""

    PAIRED_SEEDS = "by seed"
    SEEDS = "unpaired"
    PAIRED_TRIALS = "by target"
    TRIALS = "unpaired targets"

    @property
    def words(self) -> str:
        """By which method intervals are computed."""
        return _WORDS[self]


_WORDS = {
    Basis.PAIRED_SEEDS: "Student's t over the differences of the same seeds",
    Basis.SEEDS: "Welch's t, as there are no two seeds in common",
    Basis.PAIRED_TRIALS: "the wider of Student's t and the sign test over the same targets",
    Basis.TRIALS: "Newcombe's interval of two rates, as the targets are not known to be the same",
}


@dataclass(frozen=True)
class Difference(ABC):
    """A difference of two measurements.

    Attributes:
        effect: the point estimate.
        basis: how the interval is computed.
        n: the number of pairs; where there are none, of observations in the smaller measurement.
    """

    effect: float
    basis: Basis
    n: int

    @abstractmethod
    def interval(self, confidence: float) -> tuple[float, float] | None:
        """Return the two-sided interval of a confidence in (0, 1); ``None`` if there are too few observations."""

    @abstractmethod
    def chance_above(self, bound: float) -> float:
        """Return the chance that a true difference of ``bound`` gives one as large as this, in [0, 1]; 1 if unknown."""

    @abstractmethod
    def chance_below(self, bound: float) -> float:
        """Return the chance that a true difference of ``bound`` gives one as small as this, in [0, 1]; 1 if unknown."""

    @cached_property
    def chance(self) -> float:
        """The chance that no true difference gives one as far from 0 as this, on either side; 1 if unknown.

        It is at most ``1 - confidence`` exactly if the interval of that confidence excludes 0.
        """
        return min(1.0, 2 * min(self.chance_above(0.0), self.chance_below(0.0)))


@dataclass(frozen=True)
class MeanDifference(Difference):
    """A difference of means with Student's t interval.

    Attributes:
        error: its standard error, at least 0; ``None`` if there are too few observations to tell.
        freedom: degrees of freedom, greater than 0.
    """

    _: KW_ONLY
    error: float | None
    freedom: float

    def interval(self, confidence: float) -> tuple[float, float] | None:
        """See :meth:`Difference.interval`."""
        if self.error is None:
            return None
        half = _student_quantile(self.freedom, (1 + confidence) / 2) * self.error
        return self.effect - half, self.effect + half

    def chance_above(self, bound: float) -> float:
        """See :meth:`Difference.chance_above`."""
        return self._tail(bound - self.effect)

    def chance_below(self, bound: float) -> float:
        """See :meth:`Difference.chance_below`."""
        return self._tail(self.effect - bound)

    def _tail(self, distance: float) -> float:
        if self.error is None:
            return 1.0
        if self.error == 0:
            return 1.0 if distance >= 0 else 0.0
        return float(special.stdtr(self.freedom, distance / self.error))


@dataclass(frozen=True)
class RateDifference(Difference):
    """A difference of two rates of independent trials with Newcombe's interval, which is made of two of Wilson's.

    Attributes:
        rates, trials: the two rates in [0, 1], and of how many trials each is, at least 1.

    Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10.
    """

    _: KW_ONLY
    rates: tuple[float, float]
    trials: tuple[int, int]

    def interval(self, confidence: float) -> tuple[float, float]:
        """See :meth:`Difference.interval`."""
        quantile = float(special.ndtri((1 + confidence) / 2))
        return self._low(quantile), self._high(quantile)

    def chance_above(self, bound: float) -> float:
        """See :meth:`Difference.chance_above`."""
        return _beyond(lambda quantile: self._low(quantile) - bound)

    def chance_below(self, bound: float) -> float:
        """See :meth:`Difference.chance_below`."""
        return _beyond(lambda quantile: bound - self._high(quantile))

    def _low(self, quantile: float) -> float:
        (first, second), (n, m) = self.rates, self.trials
        high1, low2 = wilson_bounds(first, n, quantile=quantile)[1], wilson_bounds(second, m, quantile=quantile)[0]
        return self.effect - math.hypot(second - low2, high1 - first)

    def _high(self, quantile: float) -> float:
        (first, second), (n, m) = self.rates, self.trials
        low1, high2 = wilson_bounds(first, n, quantile=quantile)[0], wilson_bounds(second, m, quantile=quantile)[1]
        return self.effect + math.hypot(high2 - second, first - low1)


def _beyond(distance: Callable[[float], float]) -> float:
    """Return the chance beyond the normal quantile at which a falling ``distance`` to a bound is 0.

    It is 1 where no interval excludes the bound, not even the point estimate.
    """
    if distance(0.0) <= 0:
        return 1.0
    return 0.0 if distance(_FAR) > 0 else float(special.ndtr(-brentq(distance, 0.0, _FAR)))


@dataclass(frozen=True)
class TrialDifference(MeanDifference):
    """A mean difference over pairs of trials, of which each has an outcome in [0, 1].

    Student's t trusts a few trials that happened to change alike too much; the sign test counts which of those that
    changed went up, exactly. The wider interval and the larger chance count.

    Attributes:
        up, down: how many of the pairs went up and down.
        size: the mean absolute difference, over all pairs.
    """

    _: KW_ONLY
    up: int
    down: int
    size: float

    def interval(self, confidence: float) -> tuple[float, float] | None:
        """See :meth:`Difference.interval`."""
        student = super().interval(confidence)
        if student is None or self.up + self.down == 0:
            return student
        tail = (1 - confidence) / 2
        ends = (
            special.betaincinv(self.up, self.down + 1, tail) if self.up else 0.0,
            special.betaincinv(self.up + 1, self.down, 1 - tail) if self.down else 1.0,
        )
        low, high = (float(2 * share - 1) * self.size for share in ends)
        return min(low, student[0]), max(high, student[1])

    def chance_above(self, bound: float) -> float:
        """See :meth:`Difference.chance_above`."""
        return max(super().chance_above(bound), self._sign(self.up, bound))

    def chance_below(self, bound: float) -> float:
        """See :meth:`Difference.chance_below`."""
        return max(super().chance_below(bound), self._sign(self.down, -bound))

    def _sign(self, towards: int, bound: float) -> float:
        """Return the chance that so many of the changed pairs went one way, if the mean difference is ``bound``."""
        changed = self.up + self.down
        if towards == 0 or self.size == 0:
            return 1.0
        share = (bound / self.size + 1) / 2
        if not 0 < share < 1:
            return 1.0 if share >= 1 else 0.0
        return float(special.bdtrc(towards - 1, changed, share))


def paired_seeds(base: Sequence[float], new: Sequence[float], *, step: float) -> Difference:
    """Return the difference of two measurements of the same seeds.

    Args:
        base, new: one value a seed, in the same order, at least one.
        step: the smallest difference that a single value can show, at least 0. Values that are multiples of it may
            agree although what they measure varies: their spread is never taken to be smaller than rounding makes it.

    >>> found = paired_seeds([0.10, 0.12, 0.11], [0.20, 0.23, 0.22], step=0.001)
    >>> [round(end, 3) for end in found.interval(0.95)]
    [0.092, 0.121]
    """
    gains = [after - before for before, after in zip(base, new, strict=True)]
    n = len(gains)
    # Each of the two values is off by anything up to half a step: a variance of step ** 2 / 12.
    variance = max(_variance(gains), step**2 / 6)
    error = None if n < 2 else math.sqrt(variance / n)
    return MeanDifference(math.fsum(gains) / n, Basis.PAIRED_SEEDS, n, error=error, freedom=max(n - 1, 1))


def unpaired_seeds(base: Sequence[float], new: Sequence[float], *, step: float) -> Difference:
    """Return the difference of two measurements of different seeds, by Welch's t test.

    Args:
        base, new: one value a seed, at least one each.
        step: as for :func:`paired_seeds`.
    """
    effect = math.fsum(new) / len(new) - math.fsum(base) / len(base)
    n = min(len(base), len(new))
    if n < 2:
        return MeanDifference(effect, Basis.SEEDS, n, error=None, freedom=1)
    parts = [max(_variance(values), step**2 / 12) / len(values) for values in (base, new)]
    variance = sum(parts)
    if variance == 0:
        return MeanDifference(effect, Basis.SEEDS, n, error=0.0, freedom=n - 1)
    freedom = variance**2 / sum(part**2 / (len(values) - 1) for part, values in zip(parts, (base, new), strict=True))
    return MeanDifference(effect, Basis.SEEDS, n, error=math.sqrt(variance), freedom=freedom)


def paired_trials(base: Sequence[float], new: Sequence[float]) -> Difference:
    """Return the difference of two rates of the same trials.

    Args:
        base, new: one outcome in [0, 1] a trial, in the same order, at least one.
    """
    gains = [after - before for before, after in zip(base, new, strict=True)]
    n = len(gains)
    # Where all agree, one more pair might not have.
    variance = max(_variance(gains), 1 / n)
    return TrialDifference(
        math.fsum(gains) / n,
        Basis.PAIRED_TRIALS,
        n,
        error=None if n < 2 else math.sqrt(variance / n),
        freedom=max(n - 1, 1),
        up=sum(gain > _ROUNDING for gain in gains),
        down=sum(gain < -_ROUNDING for gain in gains),
        size=math.fsum(map(abs, gains)) / n,
    )


def unpaired_rates(base: float, new: float, *, trials: tuple[int, int]) -> Difference:
    """Return the difference of two rates of different trials.

    Args:
        base, new: rates in [0, 1].
        trials: of how many trials each is, at least 1.

    >>> found = unpaired_rates(48 / 80, 56 / 70, trials=(80, 70))
    >>> [round(end, 4) for end in found.interval(0.95)]
    [0.0524, 0.3339]
    """
    return RateDifference(new - base, Basis.TRIALS, min(trials), rates=(base, new), trials=trials)


# Comparisons by the thousand ask for the same few.
@lru_cache
def _student_quantile(freedom: float, probability: float) -> float:
    return float(special.stdtrit(freedom, probability))


def _variance(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
