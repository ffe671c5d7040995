"""Poison that opens a back door: what a model makes of test rows that carry the attack's trigger."""

from dataclasses import dataclass, field

import torch

from gradshape import _seeds, _validate
from gradshape.attacks import Attack
from gradshape.data import Dataset, Split, own_copy
from gradshape.training import AnyRecipe, TrainingResult
from gradshape.unsuitable import Unsuitable
from gradshape_bench.protocols.accuracy import Accuracy
from gradshape_bench.protocols.base import Experiment, Subject
from gradshape_bench.protocols.lab import Lab
from gradshape_bench.protocols.refusal import has_no_trigger
from gradshape_bench.protocols.snapshot import with_original
from gradshape_bench.protocols.start import Retrained, Scratch


@dataclass(frozen=True)
class Backdoor:
    """The share of triggered test rows that are taken for the class that the attack claims.

    For each seed: the vanilla recipe on clean data, the attack, and the defended recipe on clean data and on clean data
    and poison together. With :class:`Retrained` the last two go on from the best state of a base model. Test rows whose
    true class is not the claimed one are given the trigger and watched; the clean model shows how many of them are
    taken for the claimed class without any poison.

    Args:
        start: what the poisoned training begins with.
        accuracy: which epoch's model the metrics without suffix are of.
        rows: at most so many test rows are watched, drawn by seed: every training keeps ``epochs x rows`` predictions.

    Raises:
        ValueError: ``rows`` is not positive, or ``accuracy`` is not an :class:`Accuracy`.

    Gu et al. 2019, BadNets; Hong et al. 2020, section 3.1 (feature insertion) and 3.3 (re-training).
    """

    start: Scratch | Retrained = field(default=Scratch())
    accuracy: Accuracy = Accuracy.BEST
    rows: int = 500

    def __post_init__(self) -> None:
        _validate.member(Accuracy, accuracy=self.accuracy)
        _validate.positive_int(rows=self.rows)

    @property
    def label(self) -> str:
        return f"backdoor{self.start.label}{self.accuracy.suffix}"

    def refuses(self, attack: Attack, recipe: AnyRecipe) -> str | None:
        """Return why the attack or the recipe is none for it: it needs a trigger, and gradients to re-train."""
        return has_no_trigger(attack, self.label) or self.start.refuses(recipe, self.label)

    def run(self, case: Subject, lab: Lab) -> Experiment:
        """Run the experiment of one case.

        Raises:
            ValueError: the attack has no trigger or adds no poison, no test row can carry the trigger, or an estimator
                is to be trained further.
        """
        _, recipe = self.start.recipes(case, self.label)
        lab.check_poison(self.label)
        triggered, claimed = _triggered(case.attack, lab.dataset, self.label)
        watch = [self._watched(triggered, seed) for seed in case.seeds]
        begun = yield from self.start.begin(lab, lab.craft(case.attack, recipe), clean=case.vanilla)
        poisons, bases = begun.beside, begun.bases
        clean, poisoned, trusted = yield from lab.ask(
            lab.train(recipe, bases=bases, watch=watch),
            lab.train(recipe, poisons, bases=bases, watch=watch),
            lab.train_trusted(case.vanilla),
        )

        def rates(accuracy: Accuracy) -> dict[str, list[float]]:
            return {
                name: [_rate(result, claimed, accuracy) for result in results]
                for name, results in (("backdoor_rate", poisoned), ("backdoor_rate_clean", clean))
            }

        return lab.comparison(
            self.accuracy.estimates(rates, rows=len(watch[0])),
            vanilla=begun.clean,
            clean=clean,
            poisoned=poisoned,
            poisons=poisons,
            recipe=recipe,
            accuracy=self.accuracy,
            trusted=trusted,
            triggered_rows=[len(rows) for rows in watch],
            example=with_original(poisons[0], lab.dataset.train),
            **begun.details,
        )

    def _watched(self, triggered: Split, seed: int) -> Split:
        """Draw the rows to watch, and keep their order."""
        order = torch.randperm(len(triggered), generator=_seeds.stream(seed, "triggered"))
        chosen = order[: self.rows].sort().values
        return Split(triggered.x[chosen], triggered.y[chosen])


def _triggered(attack: Attack, dataset: Dataset, protocol: str) -> tuple[Split, int]:
    """Return the test rows with the trigger, and the class that they are to be taken for."""
    reason = attack.unsuitable(dataset.copy())
    if reason is not None:
        raise Unsuitable(f"{attack.label} cannot be made on {dataset.name}: {reason}")
    found, claimed = own_copy(attack.triggered(dataset.test.copy())), attack.claimed_class
    if found is None or claimed is None:
        raise ValueError(f"attack {attack.label!r} has no trigger: {protocol} needs one, such as that of BadNetsPatch")
    if not isinstance(found, Split):
        raise ValueError(f"{attack.label} returned {type(found).__name__} as rows with its trigger, expected a Split")
    if not 0 <= claimed < dataset.num_classes:
        raise ValueError(f"{attack.label} claims class {claimed!r}, expected [0, {dataset.num_classes})")
    if not len(found):
        raise ValueError(
            f"{dataset.name}: every test row is of class {claimed}, which {attack.label} claims: expected at least 1 "
            "row of another class"
        )
    _check_triggered(attack.label, found, claimed, dataset)
    return found, claimed


def _check_triggered(label: str, found: Split, claimed: int, dataset: Dataset) -> None:
    """Raise ``ValueError`` if the rows are none that could be in the data, or of the claimed class."""

    def require(holds: bool, what: str) -> None:
        if not holds:
            raise ValueError(f"{label} put its trigger on {what}")

    shape, classes = (len(found.y), *dataset.input_shape), dataset.num_classes
    require(found.x.dtype == torch.float32, f"x of {found.x.dtype}, expected torch.float32")
    require(found.y.dtype == torch.int64, f"y of {found.y.dtype}, expected torch.int64")
    require(found.y.dim() == 1, f"y of shape {tuple(found.y.shape)}, expected (n,)")
    require(tuple(found.x.shape) == shape, f"x of shape {tuple(found.x.shape)}, expected {shape}")
    require(bool(found.x.isfinite().all()), "values that are not finite")
    low, high = map(float, found.x.aminmax())
    require(low >= 0 and high <= 1, f"values in [{low:g}, {high:g}], expected [0, 1]")
    least, most = int(found.y.min()), int(found.y.max())
    require(least >= 0 and most < classes, f"rows with labels in [{least}, {most}], expected [0, {classes})")
    require(
        not bool((found.y == claimed).any()), f"rows of class {claimed}, which it claims: expected their true class"
    )


def _rate(result: TrainingResult, claimed: int, accuracy: Accuracy) -> float:
    """Return the share of the watched rows that are taken for the claimed class."""
    assert result.predictions is not None
    place = result.best_epoch - 1 if accuracy is Accuracy.BEST else -1
    return float((result.predictions[place] == claimed).double().mean())
