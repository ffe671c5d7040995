"""Whether a clean model works: what poison does to one that does not says nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

from gradshape.data import Dataset
from gradshape.metrics import Estimate

# An accuracy is near chance if it is less than this share of the way from chance to 1.
_NEAR = 0.1
# Metrics of what poison does to a trained model, without what says of which epoch or of which success.
ROBUSTNESS = frozenset(
    {
        "rad",
        "rad_vs_vanilla",
        "rad_of_runs",
        "mse_ratio",
        "mse_ratio_vs_vanilla",
        "success_rate",
        "backdoor_rate",
    }
)


@dataclass(frozen=True)
class Ruin:
    """Why a clean model does not work.

    Attributes:
        reason: in words, with the value.
        sure: whether the whole interval says so, or there is none and the value does.
    """

    reason: str
    sure: bool


def is_robustness(metric: str) -> bool:
    """Return whether a metric means nothing unless the clean model works.

    >>> is_robustness("rad_last"), is_robustness("utility_loss")
    (True, False)
    """
    return metric.removesuffix("_best").removesuffix("_last").removesuffix("_raw") in ROBUSTNESS


def trivial_scores(dataset: Dataset) -> dict[str, float]:
    """Return what a model scores that looks at no feature: always the most frequent class, or the mean of the answers.

    Returns:
        ``accuracy`` in (0, 1] for classes, ``mse`` for regression, both on the test rows.
    """
    answers = dataset.test.y
    if dataset.regression:
        return {"mse": float(answers.double().var(correction=0))}
    return {"accuracy": float(answers.bincount().max() / len(answers))}


def ruin(metrics: Mapping[str, Estimate], *, trivial: Mapping[str, float], utility: float | None) -> Ruin | None:
    """Return why the defended clean model does not work; ``None`` if it does, or if nothing is known of it.

    Args:
        metrics: what the case measured.
        trivial: as from :func:`trivial_scores`.
        utility: largest loss on clean data: of ``utility_loss``, or of what ``mse_ratio_utility`` exceeds 1 by;
            ``None`` for no bound.

    >>> from gradshape.metrics import share_over_seeds
    >>> ruin({"accuracy_clean": share_over_seeds([0.12, 0.13])}, trivial={"accuracy": 0.1}, utility=None).reason
    'the clean model does not work: its accuracy 0.125 is near that of a guess, 0.100'
    """
    found = [*_near_chance(metrics, trivial), *_too_costly(metrics, utility)]
    return next((one for one in found if one.sure), found[0] if found else None)


def _near_chance(metrics: Mapping[str, Estimate], trivial: Mapping[str, float]) -> list[Ruin]:
    accuracy, error = metrics.get("accuracy_clean"), metrics.get("mse_clean")
    if accuracy is not None and "accuracy" in trivial:
        chance = trivial["accuracy"]
        floor = chance + _NEAR * (1 - chance)
        if accuracy.value < floor:
            said = f"its accuracy {accuracy.value:.3f} is near that of a guess, {chance:.3f}"
            return [Ruin(f"the clean model does not work: {said}", accuracy.high is None or accuracy.high < floor)]
    if error is not None and "mse" in trivial:
        ceiling = (1 - _NEAR) * trivial["mse"]
        if error.value > ceiling:
            said = f"its mean squared error {error.value:.4g} is near that of the mean answer, {trivial['mse']:.4g}"
            return [Ruin(f"the clean model does not work: {said}", error.low is None or error.low > ceiling)]
    return []


def _too_costly(metrics: Mapping[str, Estimate], utility: float | None) -> list[Ruin]:
    if utility is None:
        return []
    for name, bound in (("utility_loss", utility), ("mse_ratio_utility", 1 + utility)):
        estimate = metrics.get(name)
        if estimate is not None and estimate.value > bound:
            said = f"the defence costs too much on clean data: {name} {estimate.value:.3f} > {bound:g}"
            return [Ruin(said, estimate.low is None or estimate.low > bound)]
    return []
