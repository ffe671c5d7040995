"""Train a base model on clean data, and train it further on clean data and on poisoned data."""

from dataclasses import dataclass, field
from functools import partial

from gradshape import _seeds
from gradshape.attacks import TargetedAttack
from gradshape.data import Dataset
from gradshape.metrics import mean_over_seeds
from gradshape_bench.jobs import Craft, Train
from gradshape_bench.protocols import epochs
from gradshape_bench.protocols.base import Experiment, Subject, check_defense, setting_of
from gradshape_bench.protocols.bases import base_models, recipes_of
from gradshape_bench.protocols.filtering import filtering, finished
from gradshape_bench.protocols.start import Retrained


@dataclass(frozen=True)
class Retrain:
    """Poison comes when the model is trained already.

    For each seed: the vanilla recipe and the base's recipe on clean data, the attack, and the second training twice
    from the best state of the base: on clean data, and on clean and poisoned data together.

    Args:
        start: by whose recipes the base model is trained and trained further.
        accuracy: which epoch's test accuracy the metrics without suffix take: ``best``, as the paper's code does,
            or ``last``.

    Raises:
        ValueError: unknown ``accuracy``.

    Hong et al. 2020, section 6.5 and Table 3, which has four combinations of the two recipes.

    >>> from gradshape_bench.protocols.start import By
    >>> Retrain().label, Retrain(Retrained(base=By.DEFENDED, again=By.VANILLA)).label
    ('retrain', 'retrain_defended_to_vanilla')
    """

    start: Retrained = field(default=Retrained())
    accuracy: str = "best"

    def __post_init__(self) -> None:
        epochs.check(self.accuracy)

    @property
    def label(self) -> str:
        epoch = "" if self.accuracy == "best" else f"_{self.accuracy}"
        return f"retrain{self.start.label.removeprefix('_retrained')}{epoch}"

    def run(self, case: Subject, dataset: Dataset, device: str) -> Experiment:
        """The experiment of one case.

        Raises:
            ValueError: the attack aims at single targets, a recipe is fitted by an estimator, or the defence cannot be
                used on this data.
        """
        if isinstance(case.attack, TargetedAttack):
            raise ValueError(
                f"attack {case.attack.label!r} aims at single targets, and {self.label} has none: use OneShot or "
                "MultiPoison"
            )
        first, recipe = recipes_of(case, self.start, self.label)
        check_defense(case, dataset)
        seeds, n = case.seeds, len(case.seeds)
        crafting = [Craft.against(dataset, device, case.attack, recipe, seed) for seed in seeds]
        bases, poisons = yield from base_models(case, dataset, device, self.start, what=self.label, beside=crafting)
        # Not the seeds of the bases: the second training has noise of its own.
        again = [_seeds.derive(seed, "re-training") for seed in seeds]
        added, twice = (*[None] * n, *poisons), (*bases, *bases)
        filters, kept = yield from filtering(
            case, dataset, device, added, (*again, *again), recipe=recipe, models=[base.model for base in twice]
        )
        training = [
            Train(
                dataset,
                device,
                recipe,
                seed,
                poison,
                keep=keep,
                initial=base.result.best,
                initial_optimizer=base.result.best_optimizer,
            )
            for seed, poison, keep, base in zip((*again, *again), added, kept, twice, strict=True)
        ]
        trained = yield training
        clean, poisoned = trained[:n], trained[n:]
        vanilla = [base.vanilla for base in bases]
        metrics = epochs.estimates(partial(epochs.of_poison, vanilla, clean, poisoned), chosen=self.accuracy)
        metrics["accuracy_base"] = mean_over_seeds([base.accuracy for base in bases])
        details = {
            **setting_of(case, dataset, recipe, poisons, accuracy=self.accuracy),
            "clean_epochs": first.epochs,
            "base": self.start.base.value,
            "again": self.start.again.value,
            "optimizer_remembers": self.start.remembers,
            "base_epochs": [base.result.best_epoch for base in bases],
            "diverged": sum(result.diverged is not None for result in (*vanilla, *clean, *poisoned)),
        }
        return finished(metrics, details, crafting=crafting, filters=filters, training=training)
