"""Thresholds, and the verdict of a measurement on each."""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from enum import Enum

from gradshape import _validate
from gradshape.metrics import Estimate
from gradshape_bench.clean_model import Ruin, is_robustness

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
        reason: why it is not met though the measurement is on the right side; ``None`` if that is not so.
    """

    threshold: Threshold
    estimate: Estimate
    verdict: Verdict
    _: KW_ONLY
    met: bool
    reason: str | None = None

    def __str__(self) -> str:
        # A number on the right side of its bound says nothing here, and comes after what does.
        if self.reason is not None:
            return f"{self.reason}: {self.verdict.value}, whatever {self.threshold}: measured {self.estimate}"
        return f"{self.threshold}: measured {self.estimate}: {self.verdict.value}"


def judge(
    threshold: Threshold, metrics: Mapping[str, Estimate], *, ruin: Ruin | None = None, confidence: float | None = None
) -> Judgement:
    """Judge one threshold.

    Robustness is a statement about a model that works: whatever was measured, no bound on it is met by one that does
    not, nor a bound on ``rad`` if poison makes the model better by as much as it may make it worse.

    Args:
        threshold: the bound.
        metrics: what the case measured.
        ruin: why its clean model does not work.
        confidence: of the interval that decides, in (0, 1); ``None`` for the interval as it is.

    Raises:
        ValueError: the case does not measure that metric; the message lists near matches.

    >>> judge(Threshold("rad", "<", 0.05), {"rad": Estimate(0.02, 0.01, 0.03, n=5)}).verdict
    <Verdict.PASS: 'PASS'>
    """
    if threshold.metric not in metrics:
        raise _validate.unknown("metric", threshold.metric, metrics)
    estimate = metrics[threshold.metric]
    if confidence is not None:
        estimate = estimate.at(confidence)
    judgement = Judgement(threshold, estimate, _verdict(threshold, estimate), met=threshold.holds(estimate.value))
    if judgement.verdict is Verdict.FAIL:
        return judgement
    if ruin is None or not is_robustness(threshold.metric):
        ruin = _too_good(threshold, estimate)
    if ruin is None:
        return judgement
    verdict = Verdict.FAIL if ruin.sure else Verdict.INCONCLUSIVE
    return replace(judgement, verdict=verdict, met=False, reason=ruin.reason)


def _verdict(threshold: Threshold, estimate: Estimate) -> Verdict:
    if estimate.low is None or estimate.high is None:
        return Verdict.INCONCLUSIVE
    sides = {threshold.holds(estimate.low), threshold.holds(estimate.high)}
    if len(sides) == 2:
        return Verdict.INCONCLUSIVE
    return Verdict.PASS if sides.pop() else Verdict.FAIL


def _too_good(threshold: Threshold, estimate: Estimate) -> Ruin | None:
    """Return why no accuracy drop can be told of, if poison raises the accuracy by as much as it may lower it."""
    if threshold.metric not in ("rad", "rad_best", "rad_last") or threshold.op not in ("<", "<="):
        return None
    if threshold.bound <= 0 or estimate.value >= -threshold.bound:
        return None
    risen = f"poison raises the accuracy, {threshold.metric} {estimate.value:.3f}"
    return Ruin(
        f"{risen}: the clean model is not trained to the end",
        estimate.high is not None and estimate.high < -threshold.bound,
    )
