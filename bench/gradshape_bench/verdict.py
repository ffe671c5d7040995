"""Thresholds, and what a measurement says about them."""

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
    """What an interval says about a bound: it lies wholly on the right side, wholly on the wrong one, or on both."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Threshold:
    """A bound that a case asserts.

    Args:
        metric: name of a metric of the record.
        op: ``<``, ``<=``, ``>`` or ``>=``.
        bound: what the metric is compared with, finite.

    Raises:
        ValueError: unknown operator, or a bound that is not finite.

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
        """Whether ``value`` is on the right side of the bound."""
        return _OPERATORS[self.op](value, self.bound)


@dataclass(frozen=True)
class Judgement:
    """A threshold and what was measured against it.

    Attributes:
        threshold: the bound.
        estimate: what was measured.
        verdict: what the interval says; without an interval always INCONCLUSIVE.
        met: whether the point estimate is on the right side: this decides whether the test passes.
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
        ValueError: the case does not measure that metric; near matches are listed.

    >>> judge(Threshold("rad", "<", 0.05), {"rad": Estimate(0.02, 0.01, 0.03, 5)}).verdict
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
