"""Train on clean data and poison together, and compare the gradients of the two, epoch by epoch."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gradshape.analysis import stationary_ratio
from gradshape.data import Dataset
from gradshape.metrics import Estimate, mean_over_seeds
from gradshape.training import GradientProbe, Layers, Recipe, TrainedModel, TrainingResult, Weighting
from gradshape_bench.jobs import AnyJob, Craft, Train
from gradshape_bench.protocols import differences, epochs
from gradshape_bench.protocols.base import Experiment, Measurement, Subject, check_defense, setting_of
from gradshape_bench.protocols.bases import base_models, recipes_of
from gradshape_bench.protocols.filtering import filtering
from gradshape_bench.protocols.snapshot import snapshot
from gradshape_bench.protocols.start import Retrained, Scratch, descent

_WEIGHTINGS = {Weighting.BATCH: "", Weighting.SAMPLE: "_by_sample", Weighting.SHARED: "_by_shared_batch"}


@dataclass(frozen=True)
class GradientDifferences:
    """The magnitude ratio and the cosine between the gradients of poison and clean rows during training.

    For each seed: a training on clean data (with :class:`Retrained` the one that the poisoned training goes on from),
    the attack, and a training on clean and poisoned data in which the gradients are told apart by row. They are looked
    at as they enter the update (clipped, where the recipe clips; before noise), and raw beside that. The same is done
    for a placebo: as many clean rows, drawn at random, and all others.

    Args:
        start: what the poisoned training begins with.
        layers, weighting, bias: see :func:`gradshape.analysis.gradient_differences`; the defaults are the paper's.

    Hong et al. 2020, section 3 (Fig. 1), section 6.2 (Fig. 4 c and f) and Appendix E (Fig. 11).
    """

    start: Scratch | Retrained = field(default=Scratch())
    layers: Layers = Layers.LAST
    weighting: Weighting = Weighting.BATCH
    bias: bool = False

    @property
    def label(self) -> str:
        layers = "_all_layers" if self.layers is Layers.ALL else ""
        bias = "_with_bias" if self.bias else ""
        return f"gradients{self.start.label}{layers}{_WEIGHTINGS[self.weighting]}{bias}"

    def run(self, case: Subject, dataset: Dataset, device: str) -> Experiment:
        """The experiment of one case.

        Raises:
            ValueError: the case has no attack or a recipe without gradients, or its defence cannot be used on its data.
        """
        before, recipe = self._recipes(case)
        if case.attack.budget(len(dataset.train)) == 0:
            raise ValueError(f"attack {case.attack.label!r} adds no poison: {self.label} needs some")
        check_defense(case, dataset)
        seeds, n = case.seeds, len(case.seeds)
        again = isinstance(self.start, Retrained)
        crafting = [Craft.against(dataset, device, case.attack, recipe, seed) for seed in seeds]
        models: Sequence[TrainedModel | None] = [None] * n
        if isinstance(self.start, Retrained):
            bases, poisons = yield from base_models(case, dataset, device, self.start, what=self.label, beside=crafting)
            clean: Sequence[TrainingResult] = [base.result for base in bases]
            models = [base.model for base in bases]
        else:
            first = yield [*(Train(dataset, device, before, seed) for seed in seeds), *crafting]
            clean, poisons = first[:n], first[n:]
        filters, kept = yield from filtering(
            case, dataset, device, poisons, seeds, recipe=recipe if again else None, models=models
        )
        training = [
            Train(
                dataset,
                device,
                recipe,
                seed,
                poison,
                keep=keep,
                initial=result.best if again else None,
                probe=GradientProbe(self.layers),
                initial_optimizer=result.best_optimizer,
            )
            for seed, poison, keep, result in zip(seeds, poisons, kept, clean, strict=True)
        ]
        poisoned = yield training
        of_seeds = [
            [differences.series_of(result, layers=self.layers, weighting=self.weighting, bias=self.bias)]
            for result in poisoned
        ]
        details = {
            **setting_of(case, dataset, recipe, poisons, accuracy="best"),
            "clean_epochs": before.epochs,
            "diverged": sum(result.diverged is not None for result in poisoned),
            "layers": self.layers.value,
            "weighting": self.weighting.value,
            "stationary_ratio": round(stationary_ratio(len(dataset.train), len(poisons[0])), 6),
            "example": snapshot(poisons[0]),
            "series": differences.curves(of_seeds),
        }
        timed: dict[str, Sequence[AnyJob]] = {"crafting": crafting, "filtering": filters, "training": training}
        return Measurement(differences.metrics(of_seeds) | _accuracies(clean, poisoned), details, timed)

    def _recipes(self, case: Subject) -> tuple[Recipe, Recipe]:
        """Of the training on clean data and of that with poison."""
        if isinstance(self.start, Retrained):
            return recipes_of(case, self.start, self.label)
        descent(case.vanilla, self.label)
        defended = descent(case.recipe, self.label)
        return defended, defended


def _accuracies(clean: Sequence[TrainingResult], poisoned: Sequence[TrainingResult]) -> dict[str, Estimate]:
    before, after = (epochs.accuracies(results, "best") for results in (clean, poisoned))
    values = {"rad": epochs.drops(before, after), "accuracy_clean": before, "accuracy_poisoned": after}
    return {name: mean_over_seeds(per_seed) for name, per_seed in values.items()}
