"""What the experiments on single targets report alike."""

import re
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from gradshape.data import Dataset
from gradshape.metrics import Estimate, mean_over_seeds, success_rate
from gradshape.training import Recipe
from gradshape_bench.protocols import epochs
from gradshape_bench.protocols.aiming import Aim, Aiming, Retraining
from gradshape_bench.protocols.base import Subject, setup_of
from gradshape_bench.protocols.bases import Base
from gradshape_bench.protocols.start import By
from gradshape_bench.protocols.tries import Tries

_MEANINGS = {
    "one_shot": "For each target a base model is trained further with one poison row after another, until one makes it "
    "take the target for the wanted class.",
    "multi_poison": "For each target a base model is trained further with the first poison row, the first two, and so "
    "on, until it takes the target for the wanted class.",
    "gradients_one_shot": "For each target a base model is trained further with the first poison row, and the "
    "gradients of that row and of the clean rows of its batches are told apart.",
}
_LABEL = re.compile(
    r"(?P<name>one_shot|multi_poison|gradients_one_shot)(?:_(?P<target>\d+)to(?P<wanted>\d+))?"
    r"(?:_(?P<base>vanilla|defended)_to_(?P<again>vanilla|defended))?"
    r"(?P<afresh>_afresh)?(?P<last>_last_epoch)?(?:_rad(?P<allowed>[\d.e-]+))?"
)


def meaning(label: str) -> str | None:
    """What a reader of a report is told of an experiment with that label; ``None`` if it is of another kind.

    >>> meaning("one_shot_3to4_afresh").split(". ")[1], meaning("targeted")
    ('Targets are of class 3, to be taken for 4', None)
    """
    match = _LABEL.fullmatch(label)
    if match is None:
        return None
    base, again = match["base"] or By.DEFENDED.value, match["again"] or By.DEFENDED.value
    sentences = [
        _MEANINGS[match["name"]],
        f"Targets are of class {match['target']}, to be taken for {match['wanted']}."
        if match["target"]
        else "Targets are of any class, to be taken for the wrong class that is likeliest to logistic regression.",
        f"Both trainings are by the {base} recipe."
        if base == again
        else f"The base is trained by the {base} recipe and further by the {again} one.",
        "The optimizer of the further training begins afresh." if match["afresh"] else "",
        "Only the last epoch counts." if match["last"] else "Any epoch counts.",
        f"A success may cost a relative accuracy drop of {match['allowed']}." if match["allowed"] else "",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def by_target(aims: Sequence[Aim], values: Sequence[float | None]) -> list[float]:
    """Means of what is known of each distinct target, over the seeds that attack it.

    Args:
        aims: targets; the same row may be one of several seeds.
        values: of each; ``None`` where nothing is known.
    """
    found: dict[tuple[int, int], list[float]] = {}
    for aim, value in zip(aims, values, strict=True):
        if value is not None:
            found.setdefault((aim.row, int(aim.wanted)), []).append(value)
    return [sum(known) / len(known) for known in found.values()]


def rate(shares: Sequence[float]) -> Estimate:
    """A success rate with Wilson's interval; of no target nothing succeeded and nothing is known.

    Args:
        shares: of each distinct target, the share of the seeds that won it: seeds that attack the same row are no
            further targets.

    >>> str(rate([])), str(rate([1, 0.5, 0, 0]))
    ('0.0000 [0.0000, 1.0000] (n=0)', '0.3750 [0.0919, 0.7806] (n=4)')
    """
    return success_rate(sum(shares), len(shares)) if shares else Estimate(0.0, 0.0, 1.0, n=0)


def outcome(
    case: Subject, dataset: Dataset, retraining: Retraining, found: Aiming, attack: Tries, control: Tries
) -> tuple[dict[str, Estimate], dict[str, Any]]:
    """Metrics and details.

    Args:
        case, dataset: of the experiment.
        retraining: how base models were trained further.
        found: targets and base models.
        attack, control: what was tried with poison, and with clean rows in its place.
    """
    metrics = {
        "success_rate": _rate(found, attack, "filtered"),
        "success_rate_raw": _rate(found, attack, "raw"),
        "success_rate_control": _rate(found, control, "filtered"),
        "success_rate_control_raw": _rate(found, control, "raw"),
    }
    vanilla, bases = [base.vanilla for base in found.bases], [base.result for base in found.bases]
    metrics |= {name: mean_over_seeds(values) for name, values in epochs.of_defense(vanilla, bases, "best").items()}
    runs = _by_seed(found, [[run.rad for run in attack.successes(aim)] for aim in found.aims])
    if runs:
        metrics["rad_of_runs"] = mean_over_seeds(runs)
    vanilla_recipe, recipe = case.vanilla, retraining.recipe
    assert isinstance(vanilla_recipe, Recipe)
    details = {
        "accuracy": "best",
        "train_rows": len(dataset.train),
        "test_rows": len(dataset.test),
        **setup_of(recipe),
        "clean_epochs": vanilla_recipe.epochs,
        "base": retraining.start.base.value,
        "again": retraining.start.again.value,
        "optimizer_remembers": retraining.start.remembers,
        "counted": retraining.counted.value,
        "allowed_drop": retraining.allowed,
        "budget": case.attack.budget(len(dataset.train)),
        "targets": len(found.aims),
        "targets_distinct": metrics["success_rate"].n,
        "targets_listed": sum(aim.listed for aim in found.aims),
        "targets_misclassified": list(found.misclassified),
        "targets_without_poison": list(found.without_poison),
        "candidates": [len(aim.poison) for aim in found.aims],
        "successes": _won(found, attack, "filtered"),
        "successes_raw": _won(found, attack, "raw"),
        "successes_control": _won(found, control, "filtered"),
        "control_tries": len(control),
    }
    return metrics, details


def removed(found: Aiming, tries: Tries, train_rows: int) -> dict[str, Estimate]:
    """What a filter left out of the poison and of the clean rows, in the mean of a seed's re-trainings; nothing without
    a filter.
    """
    masks: dict[Base, list[Tensor]] = {base: [] for base in found.bases}
    for done in tries.rounds:
        for run, mask in zip(done.runs, done.masks, strict=True):
            if mask is not None:
                masks[run.base].append(mask)
    of_seeds = [torch.stack([_shares(mask, train_rows) for mask in of]).mean(0) for of in masks.values() if of]
    if not of_seeds:
        return {}
    clean, poison = torch.stack(of_seeds).T.tolist()
    return {"poison_removed": mean_over_seeds(poison), "clean_removed": mean_over_seeds(clean)}


def _shares(mask: Tensor, train_rows: int) -> Tensor:
    gone = (~mask).double()
    return torch.stack([gone[:train_rows].mean(), gone[train_rows:].mean()])


def _by_seed(found: Aiming, values: Sequence[Sequence[float]]) -> list[float]:
    """Of each seed that has any, the mean of the values of its targets."""
    of_seeds = [
        [value for aim, own in zip(found.aims, values, strict=True) if aim.base is base for value in own]
        for base in found.bases
    ]
    return [sum(of) / len(of) for of in of_seeds if of]


def _rate(found: Aiming, tries: Tries, how: Literal["raw", "filtered"]) -> Estimate:
    return rate(by_target(found.aims, [float(_wins(tries, aim, how)) for aim in found.aims]))


def _won(found: Aiming, tries: Tries, how: Literal["raw", "filtered"]) -> int:
    return sum(_wins(tries, aim, how) for aim in found.aims)


def _wins(tries: Tries, aim: Aim, how: Literal["raw", "filtered"]) -> bool:
    return any(getattr(success, how) for success in tries.successes(aim))
