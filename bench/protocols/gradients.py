"""Train on clean data and poison together, and compare the gradients of the two, epoch by epoch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from bench.jobs import Craft, Job, Train
from bench.protocols import epochs
from bench.protocols.base import Experiment, Measurement, Subject, check_defense, setup_of
from bench.protocols.filtering import filtering
from bench.protocols.snapshot import snapshot
from bench.protocols.start import Retrained, Scratch, descent
from gradshape.analysis import Division, gradient_differences, mean_over_epochs, spread_over_epochs, stationary_ratio
from gradshape.data import Dataset
from gradshape.metrics import Estimate, mean_over_seeds
from gradshape.training import SIDES, GradientProbe, Layers, Recipe, TrainingResult, Weighting

Series = Sequence[float | None]


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
        weighting = "_by_sample" if self.weighting is Weighting.SAMPLE else ""
        return f"gradients{self.start.label}{layers}{weighting}{'_with_bias' if self.bias else ''}"

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
        first = yield [*(Train(dataset, device, before, seed, keep_states=again) for seed in seeds), *crafting]
        clean, poisons = first[:n], first[n:]
        filters, kept = yield from filtering(case, dataset, device, poisons, seeds)
        training = [
            Train(
                dataset,
                device,
                recipe,
                seed,
                poison,
                keep,
                initial=result.best if again else None,
                probe=GradientProbe(self.layers),
            )
            for seed, poison, keep, result in zip(seeds, poisons, kept, clean, strict=True)
        ]
        poisoned = yield training
        of_seeds = [self._series(result) for result in poisoned]
        details = {
            "accuracy": "best",
            "train_rows": len(dataset.train),
            "test_rows": len(dataset.test),
            **setup_of(recipe),
            "clean_epochs": before.epochs,
            "budget": case.attack.budget(len(dataset.train)),
            "poison_rows": [len(poison) for poison in poisons],
            "diverged": sum(result.diverged is not None for result in poisoned),
            "layers": self.layers.value,
            "weighting": self.weighting.value,
            "stationary_ratio": round(stationary_ratio(len(dataset.train), len(poisons[0])), 6),
            "example": snapshot(poisons[0]),
            "series": {name: _over_seeds([series[name] for series in of_seeds]) for name in of_seeds[0]},
        }
        timed: dict[str, Sequence[Job]] = {"crafting": crafting, "filtering": filters, "training": training}
        return Measurement(_metrics(of_seeds) | _accuracies(clean, poisoned), details, timed)

    def _recipes(self, case: Subject) -> tuple[Recipe, Recipe]:
        """Of the training on clean data and of that with poison."""
        vanilla, defended = (descent(recipe, self.label) for recipe in (case.vanilla, case.recipe))
        return (defended, defended) if isinstance(self.start, Scratch) else (vanilla, self.start.recipe(defended))

    def _series(self, result: TrainingResult) -> dict[str, Series]:
        """What is known of every epoch of one training."""
        measured = result.gradients
        assert measured is not None
        assert measured.accuracy is not None

        def differences(division: Division, *, shaped: bool) -> tuple[Series, Series]:
            found = gradient_differences(
                measured, division, shaped=shaped, weighting=self.weighting, layers=self.layers, bias=self.bias
            )
            return found.ratio, found.cosine

        ratio, cosine = differences(Division.POISON, shaped=True)
        raw_ratio, raw_cosine = differences(Division.POISON, shaped=False)
        placebo_ratio, placebo_cosine = differences(Division.PLACEBO, shaped=True)
        clean, poison = SIDES.index("clean"), SIDES.index("poison")
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


def _metrics(of_seeds: Sequence[Mapping[str, Series]]) -> dict[str, Estimate]:
    """Means over the epochs; and where the training began, where it ended, and how steady it was in between."""
    values: dict[str, list[float | None]] = {}
    for name in of_seeds[0]:
        values[name] = [mean_over_epochs(series[name]) for series in of_seeds]
    for name in ("magnitude_ratio", "cosine_similarity"):
        values[f"{name}_first_epoch"] = [series[name][0] for series in of_seeds]
        values[f"{name}_last_epoch"] = [series[name][-1] for series in of_seeds]
    values["cosine_similarity_spread"] = [spread_over_epochs(series["cosine_similarity"]) for series in of_seeds]
    known = {name: [value for value in per_seed if value is not None] for name, per_seed in values.items()}
    return {name: mean_over_seeds(per_seed) for name, per_seed in known.items() if per_seed}


def _accuracies(clean: Sequence[TrainingResult], poisoned: Sequence[TrainingResult]) -> dict[str, Estimate]:
    before, after = (epochs.accuracies(results, "best") for results in (clean, poisoned))
    values = {"rad": epochs.drops(before, after), "accuracy_clean": before, "accuracy_poisoned": after}
    return {name: mean_over_seeds(per_seed) for name, per_seed in values.items()}


def _over_seeds(of_seeds: Sequence[Series]) -> dict[str, list[float | None]]:
    """A curve: mean and interval over the seeds by epoch, to 6 digits; ``None`` where nothing is known."""
    curve: dict[str, list[float | None]] = {"value": [], "low": [], "high": []}
    for values in zip(*of_seeds, strict=True):
        known = [value for value in values if value is not None]
        estimate = mean_over_seeds(known) if known else None
        for name, points in curve.items():
            points.append(None if estimate is None else _rounded(getattr(estimate, name)))
    return curve


def _known(values: Tensor) -> Series:
    return [value if math.isfinite(value) else None for value in values.tolist()]


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
