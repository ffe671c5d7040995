"""Asking a defence which rows to train on, and what it removed."""

from collections.abc import Generator, Sequence
from typing import Any

from torch import Tensor

from gradshape.attacks import PoisonSet
from gradshape.data import Dataset, Split
from gradshape.metrics import Estimate, mean_over_seeds
from gradshape.training import AnyRecipe, TrainedModel
from gradshape_bench.jobs import AnyJob, Filter, Train
from gradshape_bench.protocols.base import Measurement, Subject

Masks = Sequence[Tensor | None]


def filtering(
    case: Subject,
    dataset: Dataset,
    device: str,
    poisons: Sequence[PoisonSet | None],
    seeds: Sequence[int],
    *,
    targets: Sequence[Split | None] | None = None,
    recipe: AnyRecipe | None = None,
    models: Sequence[TrainedModel | None] | None = None,
) -> Generator[Sequence[AnyJob], Sequence[Any], tuple[list[Filter], Masks]]:
    """The part of an experiment in which the case's defence is asked, if it filters.

    Args:
        case: whose defence.
        dataset, device: of the experiment.
        poisons: added to the clean rows of one training each; ``None`` for none.
        seeds: of the same trainings.
        targets: what the attacker is after in each, for defences that know it.
        recipe: what the kept rows will be trained by, for defences that know it; the vanilla one if ``None``.
        models: what each training goes on from, for the same defences; ``None`` for trainings from scratch.

    Returns:
        The jobs, and for each training the rows to keep (train rows, then poison); ``None`` for all.
    """
    n = len(seeds)
    if not case.defense.filters:
        return [], [None] * n
    runs = zip(seeds, poisons, targets or [None] * n, models or [None] * n, strict=True)
    jobs = [
        Filter.by(dataset, device, case.defense, recipe or case.vanilla, poison, seed, targets=target, model=model)
        for seed, poison, target, model in runs
    ]
    return jobs, (yield jobs)


def finished(
    metrics: dict[str, Estimate],
    details: dict[str, Any],
    *,
    crafting: Sequence[AnyJob],
    filters: Sequence[AnyJob],
    training: Sequence[Train],
) -> Measurement:
    """What an experiment found that trains once on clean data and once with poison.

    It has what the attack notes of its poison and what the filter removed.

    Args:
        metrics, details: without that.
        crafting: one job a seed.
        filters, training: of the clean runs and then of the poisoned ones, in the order of ``crafting``; no filters
            where the defence is none.
    """
    n = len(crafting)
    poisoned = training[n:]
    poisons = [job.poison for job in poisoned if job.poison is not None]
    if any(poison.notes for poison in poisons):
        details = details | {"notes": [dict(poison.notes) for poison in poisons]}
    if filters:
        found, counts = removed([job.keep for job in poisoned], poisons, len(training[0].dataset.train))
        metrics, details = metrics | found, details | counts
    return Measurement(metrics, details, {"crafting": crafting, "filtering": filters[n:], "training": poisoned})


def removed(
    kept: Masks, poisons: Sequence[PoisonSet], train_rows: int
) -> tuple[dict[str, Estimate], dict[str, list[int]]]:
    """What the defence removed of the poison and of the clean rows, as shares and as numbers a seed."""
    masks = [keep for keep in kept if keep is not None]
    poison = [int((~mask[train_rows:]).sum()) for mask in masks]
    clean = [int((~mask[:train_rows]).sum()) for mask in masks]
    present = [train_rows - len(poison.replaced) for poison in poisons]
    metrics = {"clean_removed": mean_over_seeds([c / rows for c, rows in zip(clean, present, strict=True)])}
    if all(len(poison) for poison in poisons):
        shares = [found / len(poison) for found, poison in zip(poison, poisons, strict=True)]
        metrics["poison_removed"] = mean_over_seeds(shares)
    return metrics, {"removed_poison": poison, "removed_clean": clean}
