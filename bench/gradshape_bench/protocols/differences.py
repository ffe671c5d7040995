"""What trainings with a probe say of the gradients of poison and clean rows, epoch by epoch."""

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from gradshape.analysis import Division, gradient_differences, mean_over_epochs, spread_over_epochs
from gradshape.metrics import Estimate, mean_over_seeds
from gradshape.training import SUBSETS, Layers, TrainingResult, Weighting
from gradshape_bench.protocols.accuracy import estimates

Series = Sequence[float | None]


def series_of(result: TrainingResult, *, layers: Layers, weighting: Weighting, bias: bool) -> dict[str, Series]:
    """Return what is known of every epoch of one training, by metric.

    Args:
        result: of a training with a probe that evaluated the training rows.
        layers, weighting, bias: see :func:`gradshape.analysis.gradient_differences`.
    """
    measured = result.gradients
    assert measured is not None
    assert measured.accuracy is not None

    def differences(division: Division, *, shaped: bool) -> tuple[Series, Series]:
        found = gradient_differences(measured, division, shaped=shaped, weighting=weighting, layers=layers, bias=bias)
        return found.ratio, found.cosine

    ratio, cosine = differences(Division.POISON, shaped=True)
    raw_ratio, raw_cosine = differences(Division.POISON, shaped=False)
    placebo_ratio, placebo_cosine = differences(Division.PLACEBO, shaped=True)
    clean, poison = SUBSETS.index("clean"), SUBSETS.index("poison")
    return {
        "magnitude_ratio": ratio,
        "cosine_similarity": cosine,
        "magnitude_ratio_raw": raw_ratio,
        "cosine_similarity_raw": raw_cosine,
        "placebo_magnitude_ratio": placebo_ratio,
        "placebo_cosine_similarity": placebo_cosine,
        "sample_norm_clean": _known(measured.norms[:, clean]),
        "sample_norm_poison": _known(measured.norms[:, poison]),
        "train_accuracy_clean": _known(measured.accuracy[:, clean]),
        "train_accuracy_poison": _known(measured.accuracy[:, poison]),
    }


def summary(series: Mapping[str, Series]) -> dict[str, float | None]:
    """Return one training's means over the epochs, its first and last values, and the spread in between."""
    values = {name: mean_over_epochs(epochs) for name, epochs in series.items()}
    for name in ("magnitude_ratio", "cosine_similarity"):
        values[f"{name}_first_epoch"] = series[name][0]
        values[f"{name}_last_epoch"] = series[name][-1]
    values["cosine_similarity_spread"] = spread_over_epochs(series["cosine_similarity"])
    return values


def metrics(by_seed: Sequence[Sequence[Mapping[str, Series]]]) -> dict[str, Estimate]:
    """Return means over the seeds of the :func:`summary` of their trainings; what no seed knows is left out.

    Args:
        by_seed: for each seed the :func:`series_of` its trainings, which count alike.
    """
    found = [_means([summary(series) for series in trainings]) for trainings in by_seed]
    names = dict.fromkeys(name for values in found for name in values)
    known = {name: [value for values in found if (value := values.get(name)) is not None] for name in names}
    return estimates({name: values for name, values in known.items() if values})


def curves(by_seed: Sequence[Sequence[Mapping[str, Series]]]) -> dict[str, dict[str, list[float | None]]]:
    """Return mean and interval over the seeds, by metric and epoch, to 6 digits; ``None`` where nothing is known.

    Args:
        by_seed: as for :func:`metrics`.
    """
    names = dict.fromkeys(name for trainings in by_seed for series in trainings for name in series)
    return {
        name: _curve([_mean_curve([series[name] for series in each]) for each in by_seed if each]) for name in names
    }


def _means(summaries: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    names = dict.fromkeys(name for values in summaries for name in values)
    return {name: mean_over_epochs(values[name] for values in summaries) for name in names}


def _mean_curve(trainings: Sequence[Series]) -> Series:
    return [mean_over_epochs(values) for values in zip(*trainings, strict=True)]


def _curve(by_seed: Sequence[Series]) -> dict[str, list[float | None]]:
    curve: dict[str, list[float | None]] = {"value": [], "low": [], "high": []}
    for values in zip(*by_seed, strict=True):
        known = [value for value in values if value is not None]
        estimate = mean_over_seeds(known) if known else None
        for name, points in curve.items():
            points.append(None if estimate is None else rounded(getattr(estimate, name)))
    return curve


def _known(values: Tensor) -> Series:
    return [value if math.isfinite(value) else None for value in values.tolist()]


def rounded(value: float | None) -> float | None:
    """Round a number to the 6 digits that a record keeps."""
    return None if value is None else float(f"{value:.6g}")
