"""Metrics: relative accuracy drops and success rates, with confidence intervals."""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
from scipy import stats

from gradshape import _validate


@dataclass(frozen=True)
class Estimate:
    """A measured value.

    Attributes:
        value: the point estimate.
        low, high: its 95 % interval, or ``None`` where none can be given (a single seed).
        n: the number of observations (seeds, or trials of a rate).
    """

    value: float
    low: float | None
    high: float | None
    _: KW_ONLY
    n: int

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:z.4f} (n={self.n})"
        return f"{self.value:z.4f} [{self.low:z.4f}, {self.high:z.4f}] (n={self.n})"


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
    if len(values) == 0:
        raise ValueError("values=[]: expected at least one")
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"values={list(values)!r}: expected finite numbers")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence!r}: expected a number in (0, 1)")
    mean, n = math.fsum(values) / len(values), len(values)
    if n == 1:
        return Estimate(mean, None, None, n=1)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n=n)


def success_rate(successes: float, trials: int, *, confidence: float = 0.95) -> Estimate:
    """Return the share of successes with Wilson's score interval.

    Args:
        successes: number of successes in ``[0, trials]``; a fraction where trials were repeated and each counts by its
            share of successes.
        trials: number of trials, at least 1.
        confidence: confidence of the interval, in (0, 1).

    Raises:
        ValueError: a value is outside its range.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference".

    >>> print(success_rate(34, 73))
    0.4658 [0.3559, 0.5790] (n=73)
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"successes={successes!r}, trials={trials!r}: expected 0 <= successes <= trials, trials >= 1")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence!r}: expected a number in (0, 1)")
    z, share = float(stats.norm.ppf((1 + confidence) / 2)), successes / trials
    middle = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    low, high = ((middle + side) / (1 + z * z / trials) for side in (-half, half))
    # Wilson's bounds are exactly 0 if nothing succeeded and 1 if all did, which rounding would miss.
    return Estimate(share, max(0.0, low) if successes else 0.0, min(1.0, high) if successes < trials else 1.0, n=trials)
