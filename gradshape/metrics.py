"""Metrics: relative accuracy drops and success rates, with confidence intervals."""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from enum import Enum
from functools import cache

from scipy import stats

from gradshape import _validate


class Method(Enum):
    """How the interval of an estimate is computed from its values; the value is how records spell it."""

    STUDENT = "student"
    STUDENT_UNIT = "student_unit"
    WILSON = "wilson"
    WIDER = "wider"

    @property
    def words(self) -> str:
        """What reports say of it."""
        return _WORDS[self]


_WORDS = {
    Method.STUDENT: "Student's t over the seeds",
    Method.STUDENT_UNIT: "Student's t over the seeds, within [0, 1]",
    Method.WILSON: "Wilson's score over the trials",
    Method.WIDER: "the wider of Student's t over the seeds, within [0, 1], and Wilson's score over all rows",
}


@dataclass(frozen=True)
class Estimate:
    """A measured value.

    Attributes:
        value: the point estimate.
        low, high: its interval, of 95 % unless something else is said; ``None`` where none can be given (one seed).
        n: the number of observations (seeds, or trials of a rate).
        values: the observations: one for each seed, in their order, or one for each trial. Empty if they are not known.
        method: how the interval follows from the values; ``None`` if it does not, and is taken as it was given.
        rows: of a share of rows: how many rows each value is a share of, so that Wilson's score can count them all.
    """

    value: float
    low: float | None
    high: float | None
    _: KW_ONLY
    n: int
    values: tuple[float, ...] = ()
    method: Method | None = None
    rows: int | None = None

    def at(self, confidence: float) -> "Estimate":
        """Return the same estimate with the interval of another confidence, in (0, 1).

        One whose method or values are not known keeps its interval; Wilson's needs no values.

        >>> str(mean_over_seeds([0.1, 0.2, 0.3]).at(0.5))
        '0.2000 [0.1529, 0.2471] (n=3)'
        """
        low: float | None
        high: float | None
        if self.method is Method.WILSON and self.n:
            low, high = wilson_interval(self._successes(self.n), self.n, confidence=confidence)
        elif self.values and self.method is not None:
            low, high = _student(self.values, confidence, unit=self.method is not Method.STUDENT)
        else:
            return self
        if self.method is Method.WIDER and self.rows is not None:
            total = self.rows * len(self.values)
            least, most = wilson_interval(self._successes(total), total, confidence=confidence)
            low, high = least if low is None else min(low, least), most if high is None else max(high, most)
        return replace(self, low=low, high=high)

    def _successes(self, trials: int) -> float:
        # Rounding must not make more successes than trials.
        return min(self.value * trials, trials)

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:z.4f} (n={self.n})"
        return f"{self.value:z.4f} [{self.low:z.4f}, {self.high:z.4f}] (n={self.n})"


@dataclass(frozen=True)
class LargestEstimate(Estimate):
    """The largest of several estimates; its interval holds the largest of the true values.

    Each of them gets a share of the chance of error (Bonferroni), so that choosing the largest does not flatter it.

    Attributes:
        candidates: what it is the largest of.
    """

    candidates: tuple[Estimate, ...] = ()

    def at(self, confidence: float) -> "LargestEstimate":
        """See :meth:`Estimate.at`."""
        _check(confidence)
        each = [estimate.at(1 - (1 - confidence) / len(self.candidates)) for estimate in self.candidates]
        ends = [(one.low, one.high) for one in each if one.low is not None and one.high is not None]
        if len(ends) < len(each):
            return replace(self, low=None, high=None)
        return replace(self, low=max(low for low, _ in ends), high=max(high for _, high in ends))


def largest(estimates: Sequence[Estimate], *, confidence: float = 0.95) -> LargestEstimate:
    """Return the largest of several estimates of one quantity, such as the worst that several attacks do.

    Args:
        estimates: at least one.
        confidence: of its interval, in (0, 1).

    Raises:
        ValueError: no estimate.

    >>> print(largest([mean_over_seeds([0.1, 0.2, 0.3]), mean_over_seeds([0.0, 0.1, 0.2])]))
    0.2000 [-0.1583, 0.5583] (n=3)
    """
    if not estimates:
        raise ValueError("estimates=[]: expected at least one")
    first = max(estimates, key=lambda estimate: estimate.value)
    found = LargestEstimate(
        first.value, first.low, first.high, n=first.n, values=first.values, candidates=tuple(estimates)
    )
    return found.at(confidence)


def relative_accuracy_drop(reference: float, accuracy: float) -> float:
    """Return ``(reference - accuracy) / reference``: 0 is no drop, 1 is a model that is always wrong, < 0 is a gain.

    Args:
        reference: accuracy of the model to compare with, in (0, 1].
        accuracy: accuracy of the model in question, in [0, 1].

    Raises:
        ValueError: a value is outside its range.

    The choice of the two models gives three metrics: ``rad``, ``utility_loss`` and ``rad_vs_vanilla``.
    Hong et al. 2020, section 6.1.

    >>> relative_accuracy_drop(0.5, 0.375)
    0.25
    """
    _validate.fraction(reference=reference, accuracy=accuracy)
    if reference == 0:
        raise ValueError("reference=0.0: a relative drop needs a reference accuracy greater than 0")
    return (reference - accuracy) / reference


def mean_over_seeds(values: Sequence[float], *, confidence: float = 0.95) -> Estimate:
    """Return the mean over independent repetitions with Student's t interval.

    Args:
        values: one value a seed, at least one. A single value has no interval.
        confidence: confidence of the interval, in (0, 1).

    Raises:
        ValueError: no value, a value that is not finite, or a confidence outside (0, 1).

    >>> print(mean_over_seeds([0.1, 0.2, 0.3]))
    0.2000 [-0.0484, 0.4484] (n=3)
    """
    return _mean(values, Method.STUDENT, confidence)


def share_over_seeds(values: Sequence[float], *, rows: int | None = None, confidence: float = 0.95) -> Estimate:
    """Return the mean of shares over independent repetitions, with an interval within [0, 1].

    It is Student's t interval cut off at 0 and 1, which costs no coverage. Where it is known how many rows each share
    is of, it is never narrower than Wilson's for as many rows: seeds that happen to agree say little of a few rows.

    Args:
        values: one share a seed, in [0, 1], at least one.
        rows: how many rows each of them is a share of; ``None`` for shares of rows that are all there are, such as
            accuracies on a test set.
        confidence: confidence of the interval, in (0, 1).

    Raises:
        ValueError: no value, a value outside [0, 1], or a confidence outside (0, 1).

    >>> print(share_over_seeds([0.9, 1.0, 1.0]), share_over_seeds([1.0, 1.0], rows=10))
    0.9667 [0.8232, 1.0000] (n=3) 1.0000 [0.8389, 1.0000] (n=2)
    """
    if any(not 0 <= value <= 1 for value in values):
        raise ValueError(f"values={list(values)!r}: expected shares in [0, 1]")
    return _mean(values, Method.STUDENT_UNIT if rows is None else Method.WIDER, confidence, rows=rows)


def success_rate(successes: float, trials: int, *, confidence: float = 0.95) -> Estimate:
    """Return the share of successes with Wilson's score interval.

    Args:
        successes: number of successes in ``[0, trials]``; a fraction where trials were repeated and each counts by its
            share of successes.
        trials: number of trials, at least 1.
        confidence: confidence of the interval, in (0, 1).

    Raises:
        ValueError: a value is outside its range.

    >>> print(success_rate(34, 73))
    0.4658 [0.3559, 0.5790] (n=73)
    """
    low, high = wilson_interval(successes, trials, confidence=confidence)
    return Estimate(successes / trials, low, high, n=trials, method=Method.WILSON)


def rate_over_trials(outcomes: Sequence[float], *, confidence: float = 0.95) -> Estimate:
    """Return the :func:`success_rate` of single trials, with their outcomes.

    Args:
        outcomes: one for each trial, at least one: 1 for a success, 0 for none; a fraction where a trial was repeated
            and counts by its share of successes.
        confidence: confidence of the interval, in (0, 1).

    Raises:
        ValueError: no outcome, one outside [0, 1], or a confidence outside (0, 1).

    >>> rate_over_trials([1, 0.5, 0]).values
    (1.0, 0.5, 0.0)
    """
    if any(not 0 <= outcome <= 1 for outcome in outcomes):
        raise ValueError(f"outcomes={list(outcomes)!r}: expected numbers in [0, 1]")
    return _mean(outcomes, Method.WILSON, confidence)


def wilson_interval(successes: float, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the ends of Wilson's score interval for a share.

    Args:
        successes: number of successes in ``[0, trials]``, which may be a fraction.
        trials: number of trials, at least 1.
        confidence: confidence of the interval, in (0, 1).

    Raises:
        ValueError: a value is outside its range.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference".

    >>> low, high = wilson_interval(34, 73)
    >>> round(low, 4), round(high, 4)
    (0.3559, 0.579)
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"successes={successes!r}, trials={trials!r}: expected 0 <= successes <= trials, trials >= 1")
    _check(confidence)
    return wilson_bounds(successes / trials, trials, quantile=_normal_quantile((1 + confidence) / 2))


def wilson_bounds(share: float, trials: int, *, quantile: float) -> tuple[float, float]:
    """Return the ends of Wilson's score interval for a share, by the quantile that it is made of.

    Args:
        share: in [0, 1].
        trials: of how many trials, at least 1.
        quantile: of the standard normal distribution, at least 0, such as 1.96 for a confidence of 95 %.
    """
    z = quantile
    middle = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    scale = 1 + z * z / trials
    low, high = (middle - half) / scale, (middle + half) / scale
    # Wilson's bounds are exactly 0 if nothing succeeded and 1 if all did, which rounding would miss.
    return max(0.0, low) if share > 0 else 0.0, min(1.0, high) if share < 1 else 1.0


def _mean(values: Sequence[float], method: Method, confidence: float, *, rows: int | None = None) -> Estimate:
    if len(values) == 0:
        raise ValueError("values=[]: expected at least one")
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"values={list(values)!r}: expected finite numbers")
    _check(confidence)
    kept = tuple(float(value) for value in values)
    mean = math.fsum(kept) / len(kept)
    return Estimate(mean, None, None, n=len(kept), values=kept, method=method, rows=rows).at(confidence)


def _student(values: Sequence[float], confidence: float, *, unit: bool) -> tuple[float | None, float | None]:
    n = len(values)
    if n == 1:
        return None, None
    mean = math.fsum(values) / n
    # NumPy's deviation takes longer than all the rest, for a handful of values.
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = _student_quantile((1 + confidence) / 2, n - 1) * deviation / math.sqrt(n)
    low, high = mean - half, mean + half
    return (max(0.0, low), min(1.0, high)) if unit else (low, high)


def _check(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence!r}: expected a number in (0, 1)")


# Records by the thousand ask for the same few.


@cache
def _student_quantile(probability: float, freedom: int) -> float:
    return float(stats.t.ppf(probability, freedom))


@cache
def _normal_quantile(probability: float) -> float:
    return float(stats.norm.ppf(probability))
