"""Train on clean data and poison together, and compare the gradients of the two, epoch by epoch."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field

from gradshape.analysis import stationary_ratio
from gradshape.attacks import Attack
from gradshape.metrics import Estimate, mean_over_seeds
from gradshape.training import AnyRecipe, GradientProbe, Layers, TrainingResult, Weighting
from gradshape_bench.protocols import differences, effect_metrics
from gradshape_bench.protocols.accuracy import Accuracy
from gradshape_bench.protocols.base import Experiment, Subject
from gradshape_bench.protocols.base_models import by_gradients, lacks_gradients
from gradshape_bench.protocols.lab import Lab
from gradshape_bench.protocols.refusal import aims_at_targets
from gradshape_bench.protocols.snapshot import snapshot
from gradshape_bench.protocols.start import Retrained, Scratch

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
    _: KW_ONLY
    layers: Layers = Layers.LAST
    weighting: Weighting = Weighting.BATCH
    bias: bool = False

    @property
    def label(self) -> str:
        layers = "_all_layers" if self.layers is Layers.ALL else ""
        bias = "_with_bias" if self.bias else ""
        return f"gradients{self.start.label}{layers}{_WEIGHTINGS[self.weighting]}{bias}"

    def refuses(self, attack: Attack, recipe: AnyRecipe) -> str | None:
        """Return why the attack or the recipe is none for it: it has no targets, and needs gradients."""
        return aims_at_targets(attack, self.label) or lacks_gradients(recipe, self.label)

    def run(self, case: Subject, lab: Lab) -> Experiment:
        """Run the experiment of one case.

        Raises:
            ValueError: the case has no attack or a recipe without gradients.
        """
        before, recipe = (by_gradients(each, self.label) for each in self.start.recipes(case, self.label))
        lab.check_poison(self.label)
        begun = yield from self.start.begin(lab, lab.craft(case.attack, recipe), clean=before)
        poisons = begun.beside
        poisoned = yield from lab.ask(lab.train(recipe, poisons, bases=begun.bases, probe=GradientProbe(self.layers)))
        by_seed = [
            [differences.series_of(result, layers=self.layers, weighting=self.weighting, bias=self.bias)]
            for result in poisoned
        ]
        return lab.measurement(
            differences.metrics(by_seed) | _accuracies(begun.clean, poisoned),
            recipe=recipe,
            poisons=poisons,
            poisoned=poisoned,
            clean_epochs=before.epochs,
            layers=self.layers.value,
            weighting=self.weighting.value,
            stationary_ratio=round(stationary_ratio(len(lab.dataset.train), len(poisons[0])), 6),
            example=snapshot(poisons[0]),
            series=differences.curves(by_seed),
        )


def _accuracies(clean: Sequence[TrainingResult], poisoned: Sequence[TrainingResult]) -> dict[str, Estimate]:
    before, after = Accuracy.BEST.of_each(clean), Accuracy.BEST.of_each(poisoned)
    values = {"rad": effect_metrics.drops(before, after), "accuracy_clean": before, "accuracy_poisoned": after}
    return {name: mean_over_seeds(per_seed) for name, per_seed in values.items()}
