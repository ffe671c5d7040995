"""What is measured: relative accuracy drops, success rates, and how sure one may be of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from gradshape import _validate


@dataclass(frozen=True)
class Estimate:
    """A measured value.

    Attributes:
        value: the point estimate.
        low, high: its 95 % interval, or ``None`` where none can be given (a single seed).
        n: number of observations (seeds, or trials of a rate).
    """

    value: float
    low: float | None
    high: float | None
    n: int

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:z.4f} (n={self.n})"
        return f"{self.value:z.4f} [{self.low:z.4f}, {self.high:z.4f}] (n={self.n})"


def relative_accuracy_drop(reference: float, accuracy: float) -> float:
    """``(reference - accuracy) / reference``: 0 is no drop, 1 is a model that is always wrong; negative is a gain.

    Args:
        reference: accuracy of the model that is compared with, in (0, 1].
        accuracy: accuracy of the model in question, in [0, 1].

    Raises:
        ValueError: a value is outside its range.

    Which models are compared gives three metrics (``rad``, ``utility_loss``, ``rad_vs_vanilla``); see
    :data:`METRICS`. Hong et al. 2020, section 6.1.

    >>> relative_accuracy_drop(0.5, 0.375)
    0.25
    """
    _validate.fraction(reference=reference, accuracy=accuracy)
    if reference == 0:
        raise ValueError("reference=0.0: a relative drop needs a reference accuracy greater than 0")
    return (reference - accuracy) / reference


def mean_over_seeds(values: Sequence[float], *, confidence: float = 0.95) -> Estimate:
    """Mean with Student's t interval over independent repetitions.

    Args:
        values: one a seed, at least one. A single value has no interval.
        confidence: in (0, 1).

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
        return Estimate(mean, None, None, 1)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)


def success_rate(successes: int, trials: int, *, confidence: float = 0.95) -> Estimate:
    """Share of successes with Wilson's score interval.

    Args:
        successes: in ``[0, trials]``.
        trials: at least 1.
        confidence: in (0, 1).

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
    interval = stats.binomtest(successes, trials).proportion_ci(confidence_level=confidence, method="wilson")
    return Estimate(successes / trials, float(interval.low), float(interval.high), trials)


@dataclass(frozen=True)
class Metric:
    """What a number in a record means.

    Attributes:
        name: its key.
        definition: one sentence.
        lower_is_better: the defender's direction.
    """

    name: str
    definition: str
    lower_is_better: bool


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "rad",
            "Relative accuracy drop of the poisoned model against the clean model of the same recipe and seed: "
            "what the poison did.",
            lower_is_better=True,
        ),
        Metric(
            "utility_loss",
            "Relative accuracy drop of the defended clean model against the vanilla clean model of the same seed: "
            "what the defence costs.",
            lower_is_better=True,
        ),
        Metric(
            "rad_vs_vanilla",
            "Relative accuracy drop of the poisoned defended model against the vanilla clean model of the same seed: "
            "the curve of the paper's Fig. 4.",
            lower_is_better=True,
        ),
        Metric(
            "mse_ratio",
            "Mean squared test error of the poisoned model over that of the clean model of the same recipe and seed: "
            "what the poison did; 1 is nothing.",
            lower_is_better=True,
        ),
        Metric(
            "mse_ratio_utility",
            "Mean squared test error of the defended clean model over that of the vanilla clean model: what the "
            "defence costs; 1 is nothing.",
            lower_is_better=True,
        ),
        Metric(
            "mse_ratio_vs_vanilla",
            "Mean squared test error of the poisoned defended model over that of the vanilla clean model.",
            lower_is_better=True,
        ),
        Metric(
            "mse_clean", "Mean squared test error of the defended model fitted on clean data.", lower_is_better=True
        ),
        Metric(
            "mse_poisoned", "Mean squared test error of the defended model fitted with poison.", lower_is_better=True
        ),
        Metric(
            "mse_vanilla", "Mean squared test error of the vanilla model fitted on clean data.", lower_is_better=True
        ),
        Metric(
            "cluster_purity",
            "Share of the poison that lies in clusters of which it is the majority, among k-means clusters of clean "
            "rows and poison in the plane of their two main components, in [0, 1].",
            lower_is_better=False,
        ),
        Metric(
            "remoteness",
            "Mean distance of the poison from the clean centroid of the class that it claims, over the mean distance "
            "of that class' clean rows; about 1 is inconspicuous.",
            lower_is_better=False,
        ),
        Metric("distinct_poisons", "Number of different poison rows.", lower_is_better=False),
        Metric(
            "success_rate",
            "Share of the targets that the poisoned model misclassifies, among those that the clean one classifies "
            "correctly, in [0, 1].",
            lower_is_better=True,
        ),
        Metric(
            "poison_removed", "Share of the poison rows that the defence left out, in [0, 1].", lower_is_better=False
        ),
        Metric("clean_removed", "Share of the clean rows that the defence left out, in [0, 1].", lower_is_better=True),
        Metric(
            "certified_bound",
            "Upper bound on the training objective that any attack inside the filter can force, proved by the attack's "
            "dual; a case in which more was reached fails.",
            lower_is_better=True,
        ),
        Metric(
            "objective_reached",
            "Training objective on clean and poison rows of the learner that the certificate speaks of.",
            lower_is_better=True,
        ),
        Metric("accuracy_clean", "Test accuracy of the defended model trained on clean data.", lower_is_better=False),
        Metric("accuracy_poisoned", "Test accuracy of the defended model trained with poison.", lower_is_better=False),
        Metric("accuracy_vanilla", "Test accuracy of the vanilla model trained on clean data.", lower_is_better=False),
    )
}
