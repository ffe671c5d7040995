"""Metrics of what poison and defence do to trained models, seed by seed and in the mean."""

from collections.abc import Sequence

from torch import Tensor

from gradshape.attacks import PoisonSet
from gradshape.metrics import Estimate, mean_over_seeds, relative_accuracy_drop, share_over_seeds
from gradshape.training import TrainingResult
from gradshape_bench.protocols.accuracy import Accuracy


def drops(references: Sequence[float], values: Sequence[float]) -> list[float]:
    """Return relative accuracy drops, seed by seed."""
    return [relative_accuracy_drop(reference, value) for reference, value in zip(references, values, strict=True)]


def accuracy_metrics(
    vanilla: Sequence[TrainingResult],
    clean: Sequence[TrainingResult],
    poisoned: Sequence[TrainingResult],
    accuracy: Accuracy,
) -> dict[str, list[float]]:
    """Return what poison and defence do to the accuracy, seed by seed.

    Args:
        vanilla: trained on clean data without the defence, one a seed.
        clean: with it.
        poisoned: with it and with the poison.
        accuracy: of which epoch.
    """
    plain, defended, attacked = (accuracy.of_each(results) for results in (vanilla, clean, poisoned))
    return {
        "rad": drops(defended, attacked),
        "utility_loss": drops(plain, defended),
        "rad_vs_vanilla": drops(plain, attacked),
        "accuracy_vanilla": plain,
        "accuracy_clean": defended,
        "accuracy_poisoned": attacked,
    }


def utility_metrics(
    vanilla: Sequence[TrainingResult], defended: Sequence[TrainingResult], accuracy: Accuracy
) -> dict[str, list[float]]:
    """Return what a defence costs, seed by seed, by trainings on clean data without and with it."""
    plain, shaped = accuracy.of_each(vanilla), accuracy.of_each(defended)
    return {"utility_loss": drops(plain, shaped), "accuracy_vanilla": plain, "accuracy_clean": shaped}


def trusted_metrics(
    vanilla: Sequence[TrainingResult], trusted: Sequence[TrainingResult], accuracy: Accuracy
) -> dict[str, list[float]]:
    """Return, seed by seed, what training on trusted rows alone costs against training on all clean rows."""
    plain, alone = accuracy.of_each(vanilla), accuracy.of_each(trusted)
    return {"rad_trusted": drops(plain, alone), "accuracy_trusted": alone}


def error_metrics(
    vanilla: Sequence[TrainingResult], clean: Sequence[TrainingResult], poisoned: Sequence[TrainingResult]
) -> dict[str, Estimate]:
    """Return mean squared errors, and what poison and defence multiply them by.

    The arguments are those of :func:`accuracy_metrics`.

    Raises:
        ValueError: a training is of classes, or an error that others are compared with is 0.
    """
    plain, defended, attacked = ([_mse(result) for result in results] for results in (vanilla, clean, poisoned))
    values = {
        "mse_ratio": _ratios(attacked, defended),
        "mse_ratio_utility": _ratios(defended, plain),
        "mse_ratio_vs_vanilla": _ratios(attacked, plain),
        "mse_vanilla": plain,
        "mse_clean": defended,
        "mse_poisoned": attacked,
    }
    return {name: mean_over_seeds(per_seed) for name, per_seed in values.items()}


def filter_metrics(
    masks: Sequence[Tensor], poisons: Sequence[PoisonSet], train_rows: int
) -> tuple[dict[str, Estimate], dict[str, list[int]]]:
    """Return what a defence removed of the poison and of the clean rows: shares in the mean, and numbers by seed.

    Args:
        masks: for each seed, whether each of the train rows and then the poison rows was kept.
        poisons: for each seed.
        train_rows: how many train rows there are.
    """
    poison = [int((~mask[train_rows:]).sum()) for mask in masks]
    clean = [int((~mask[:train_rows]).sum()) for mask in masks]
    present = [train_rows - len(poison.replaced) for poison in poisons]
    metrics = {"clean_removed": share_over_seeds([c / rows for c, rows in zip(clean, present, strict=True)])}
    if all(len(poison) for poison in poisons):
        shares = [found / len(poison) for found, poison in zip(poison, poisons, strict=True)]
        metrics["poison_removed"] = share_over_seeds(shares)
    return metrics, {"removed_poison": poison, "removed_clean": clean}


def _mse(result: TrainingResult) -> float:
    if result.mse is None:
        raise ValueError("a victim of a regression task has no mean squared error")
    return result.mse


def _ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    if min(denominators) <= 0:
        raise ValueError(f"mean squared errors {list(denominators)!r}: a ratio to 0 has no value")
    return [n / d for n, d in zip(numerators, denominators, strict=True)]
