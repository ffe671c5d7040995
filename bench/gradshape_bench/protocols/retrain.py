"""Train a base model on clean data, and train it further on clean data and on poisoned data."""

from dataclasses import dataclass, field

from gradshape import _seeds, _validate
from gradshape.attacks import Attack
from gradshape.metrics import share_over_seeds
from gradshape.training import AnyRecipe
from gradshape_bench.protocols.accuracy import Accuracy
from gradshape_bench.protocols.base import Experiment, Subject
from gradshape_bench.protocols.lab import Lab
from gradshape_bench.protocols.refusal import aims_at_targets
from gradshape_bench.protocols.start import Retrained


@dataclass(frozen=True)
class Retrain:
    """Poison comes when the model is trained already.

    For each seed: the vanilla recipe and the base's recipe on clean data, the attack, and the second training twice
    from the best state of the base: on clean data, and on clean and poisoned data together.

    Args:
        start: by whose recipes the base model is trained and trained further.
        accuracy: which epoch's test accuracy the metrics without suffix take.

    Raises:
        ValueError: ``accuracy`` is not an :class:`Accuracy`.

    Hong et al. 2020, section 6.5 and Table 3, which has four combinations of the two recipes.

    >>> from gradshape_bench.protocols.start import By
    >>> Retrain().label, Retrain(Retrained(base=By.DEFENDED, again=By.VANILLA)).label
    ('retrain', 'retrain_defended_to_vanilla')
    """

    start: Retrained = field(default=Retrained())
    accuracy: Accuracy = Accuracy.BEST

    def __post_init__(self) -> None:
        _validate.member(Accuracy, accuracy=self.accuracy)

    @property
    def label(self) -> str:
        return f"retrain{self.start.label.removeprefix('_retrained')}{self.accuracy.suffix}"

    def refuses(self, attack: Attack, recipe: AnyRecipe) -> str | None:
        """Return why the attack or the recipe is none for it: it has no targets, and goes on from a trained model."""
        return aims_at_targets(attack, self.label) or self.start.refuses(recipe, self.label)

    def run(self, case: Subject, lab: Lab) -> Experiment:
        """Run the experiment of one case.

        Raises:
            Unsuitable: the attack aims at single targets, or a recipe is fitted by an estimator.
        """
        lab.check_applies(self)
        first, recipe = self.start.recipes(case, self.label)
        bases, poisons = yield from self.start.base_models(lab, lab.craft(case.attack, recipe))
        # Not the seeds of the bases: the second training has noise of its own.
        seeds = [_seeds.derive(seed, "re-training") for seed in case.seeds]
        clean, poisoned, trusted = yield from lab.ask(
            lab.train(recipe, seeds=seeds, bases=bases),
            lab.train(recipe, poisons, seeds=seeds, bases=bases),
            lab.train_trusted(case.vanilla),
        )
        return lab.comparison(
            {"accuracy_base": share_over_seeds([base.accuracy for base in bases])},
            vanilla=[base.vanilla for base in bases],
            clean=clean,
            poisoned=poisoned,
            poisons=poisons,
            recipe=recipe,
            accuracy=self.accuracy,
            trusted=trusted,
            clean_epochs=first.epochs,
            base=self.start.base.value,
            again=self.start.again.value,
            optimizer_remembers=self.start.remembers,
            base_epochs=[base.result.best_epoch for base in bases],
        )
