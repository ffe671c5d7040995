"""What the experiment of a case gave: a measurement and its cost, or trainings that diverged."""

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from gradshape.training import TrainingResult
from gradshape_bench.protocols import Measurement


@dataclass(frozen=True)
class MeasuredCase:
    """What the experiment of a case measured, and what that cost.

    Attributes:
        measurement: what the experiment measured; it refers to no jobs any more.
        dataset_fingerprint, train_rows: fingerprint of the clean data, and how many training rows there are.
        seconds: computing time of all its jobs.
        costs: mean computing time of a job in seconds, by what the job did.
        jobs, cached_jobs: how many jobs there were, and how many of them were found in the cache.
        trivial: scores of a model that looks at no feature; see :func:`gradshape_bench.clean_model.trivial_scores`.
    """

    measurement: Measurement
    dataset_fingerprint: str
    train_rows: int
    _: KW_ONLY
    seconds: float
    costs: Mapping[str, float] = field(default_factory=dict)
    jobs: int = 0
    cached_jobs: int = 0
    trivial: Mapping[str, float] = field(default_factory=dict)


class Diverged(ArithmeticError):
    """A training that a case needs gave numbers that are not finite, so that the case has no score."""


def check_finite(results: Iterable[Any]) -> None:
    """Check the results of a group of jobs.

    Raises:
        Diverged: a training among them diverged.
    """
    trainings = [result for result in results if isinstance(result, TrainingResult)]
    epochs = [result.diverged for result in trainings if result.diverged is not None]
    if epochs:
        raise Diverged(
            f"{len(epochs)} of {len(trainings)} trainings diverged: logits were not finite after epoch {min(epochs)}"
        )
