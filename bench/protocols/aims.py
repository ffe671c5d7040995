"""What the experiments on single targets report alike."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from bench.protocols import epochs
from bench.protocols.aiming import Aiming, Retraining, Round, Success
from bench.protocols.base import Subject, setup_of
from bench.protocols.start import By
from gradshape.data import Dataset
from gradshape.metrics import Estimate, mean_over_seeds, success_rate
from gradshape.training import Recipe

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


def rate(successes: int, trials: int) -> Estimate:
    """A success rate with Wilson's interval; of no trial nothing succeeded and nothing is known.

    >>> str(rate(0, 0))
    '0.0000 [0.0000, 1.0000] (n=0)'
    """
    return success_rate(successes, trials) if trials else Estimate(0.0, 0.0, 1.0, 0)


def outcome(
    case: Subject,
    dataset: Dataset,
    retraining: Retraining,
    found: Aiming,
    attack: Mapping[int, Sequence[Success]],
    control: Mapping[int, Sequence[Success]] | None = None,
) -> tuple[dict[str, Estimate], dict[str, Any]]:
    """Metrics and details.

    Args:
        case, dataset: of the experiment.
        retraining: how base models were trained further.
        found: targets and base models.
        attack, control: for each target (by identity) what became of its re-trainings with poison, and with clean rows
            in its place; no control if ``None``.
    """
    attacked = len(found.aims)
    of_attack = [attack[id(aim)] for aim in found.aims]
    metrics = {
        "success_rate": rate(_won(of_attack, "filtered"), attacked),
        "success_rate_raw": rate(_won(of_attack, "raw"), attacked),
    }
    vanilla, bases = [base.vanilla for base in found.bases], [base.result for base in found.bases]
    metrics |= {name: mean_over_seeds(values) for name, values in epochs.of_defense(vanilla, bases, "best").items()}
    runs = [[run.rad for aim in found.aims if aim.base is base for run in attack[id(aim)]] for base in found.bases]
    if any(runs):
        metrics["rad_of_runs"] = mean_over_seeds([sum(drops) / len(drops) for drops in runs if drops])
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
        "targets": attacked,
        "targets_distinct": len({(aim.row, int(aim.wanted)) for aim in found.aims}),
        "targets_listed": sum(aim.listed for aim in found.aims),
        "targets_misclassified": list(found.misclassified),
        "targets_without_poison": list(found.without_poison),
        "candidates": [len(aim.poison) for aim in found.aims],
        "successes": _won(of_attack, "filtered"),
        "successes_raw": _won(of_attack, "raw"),
    }
    if control is not None:
        controlled = [ones for aim in found.aims if (ones := control[id(aim)])]
        metrics["success_rate_control"] = rate(_won(controlled, "filtered"), len(controlled))
        metrics["success_rate_control_raw"] = rate(_won(controlled, "raw"), len(controlled))
        details["successes_control"] = _won(controlled, "filtered")
    return metrics, details


def removed(rounds: Sequence[Round], train_rows: int) -> dict[str, Estimate]:
    """What a filter left out of the poison and of the clean rows, over all re-trainings; nothing without a filter."""
    masks = [mask for done in rounds for mask in done.masks if mask is not None]
    if not masks:
        return {}
    poison = [float((~mask[train_rows:]).double().mean()) for mask in masks]
    clean = [float((~mask[:train_rows]).double().mean()) for mask in masks]
    return {"poison_removed": mean_over_seeds(poison), "clean_removed": mean_over_seeds(clean)}


def _won(of_targets: Sequence[Sequence[Success]], how: Literal["raw", "filtered"]) -> int:
    return sum(any(getattr(run, how) for run in runs) for runs in of_targets)
