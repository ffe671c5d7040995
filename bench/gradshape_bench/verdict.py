"""Thresholds, and the verdict of a measurement on each."""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from enum import Enum

from gradshape import _validate
from gradshape.metrics import Estimate

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Verdict(Enum):
    """Where an interval lies: wholly on the right side of a bound, wholly on the wrong side, or on both."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Threshold:
    """A bound that a case asserts.

    Args:
        metric: name of a metric of the record.
        op: ``<``, ``<=``, ``>`` or ``>=``.
        bound: finite number that the metric is compared with.

    Raises:
        ValueError: the operator is unknown, or the bound is not finite.

    >>> str(Threshold("rad", "<", 0.05))
    'rad < 0.05'
    """

    metric: str
    op: str
    bound: float

    def __post_init__(self) -> None:
        if self.op not in _OPERATORS:
            raise _validate.unknown("operator", self.op, _OPERATORS)
        if not math.isfinite(self.bound):
            raise ValueError(f"bound={self.bound!r}: expected a finite number")

    def __str__(self) -> str:
        return f"{self.metric} {self.op} {self.bound:g}"

    def holds(self, value: float) -> bool:
        """Return whether ``value`` is on the right side of the bound."""
        return _OPERATORS[self.op](value, self.bound)


@dataclass(frozen=True)
class Judgement:
    """A threshold and the measurement that it was compared with.

    Attributes:
        threshold: the threshold.
        estimate: the measurement.
        verdict: verdict of the interval; without an interval always INCONCLUSIVE.
        met: whether the point estimate is on the right side, which decides whether the test passes.
    """

    threshold: Threshold
    estimate: Estimate
    verdict: Verdict
    _: KW_ONLY
    met: bool

    def __str__(self) -> str:
        return f"{self.threshold}: measured {self.estimate}: {self.verdict.value}"


def judge(threshold: Threshold, metrics: Mapping[str, Estimate]) -> Judgement:
    """Judge one threshold.

    Raises:
        ValueError: the case does not measure that metric; the message lists near matches.

    >>> judge(Threshold("rad", "<", 0.05), {"rad": Estimate(0.02, 0.01, 0.03, n=5)}).verdict
    <Verdict.PASS: 'PASS'>
    """
    if threshold.metric not in metrics:
        raise _validate.unknown("metric", threshold.metric, metrics)
    estimate = metrics[threshold.metric]
    met = threshold.holds(estimate.value)
    verdict = Verdict.INCONCLUSIVE
    if estimate.low is not None and estimate.high is not None:
        sides = {threshold.holds(estimate.low), threshold.holds(estimate.high)}
        if len(sides) == 1:
            verdict = Verdict.PASS if sides.pop() else Verdict.FAIL
    return Judgement(threshold, estimate, verdict, met=met)
