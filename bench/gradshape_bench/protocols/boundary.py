"""Train on clean data of two features, and look at which class every point of the plane is given."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.analysis import Regions, classifier, decision_regions
from gradshape.data import Dataset, Split
from gradshape.metrics import mean_over_seeds
from gradshape.training import Recipe, TrainingResult
from gradshape_bench.jobs import Train
from gradshape_bench.protocols import epochs
from gradshape_bench.protocols.base import Experiment, Measurement, Subject, check_defense, check_no_attack, setup_of
from gradshape_bench.protocols.filtering import filtering
from gradshape_bench.protocols.start import descent

# Of the training rows, as many as a picture can show.
_POINTS = 1000


@dataclass(frozen=True)
class DecisionBoundary:
    """There is no attack: for each seed the vanilla and the defended recipe on clean data, and both models' decisions.

    Args:
        accuracy: which epoch's model is looked at: ``best`` by test accuracy, as in the paper's code, or ``last``.
        side: cells along a side of the grid over the unit square.

    Raises:
        ValueError: ``side`` is not positive, or an unknown ``accuracy``.

    Hong et al. 2020, Appendix D, Fig. 10.
    """

    accuracy: str = "best"
    side: int = 64

    def __post_init__(self) -> None:
        epochs.check(self.accuracy)
        _validate.positive_int(side=self.side)

    @property
    def label(self) -> str:
        return "boundary" if self.accuracy == "best" else f"boundary_{self.accuracy}"

    def run(self, case: Subject, dataset: Dataset, device: str) -> Experiment:
        """The experiment of one case.

        Raises:
            ValueError: the data has not two features and classes, the case has an attack or a recipe without
                gradients, its defence cannot be used on its data, or a model has no decision at some point.
        """
        if dataset.regression or dataset.input_shape != (2,):
            task = "values" if dataset.regression else f"{dataset.num_classes} classes"
            raise ValueError(
                f"{dataset.name} has rows of shape {dataset.input_shape} and {task}: {self.label} expects shape (2,) "
                "and classes"
            )
        check_no_attack(case, dataset, self.label)
        check_defense(case, dataset)
        vanilla, defended = (descent(recipe, self.label) for recipe in (case.vanilla, case.recipe))
        seeds, n = case.seeds, len(case.seeds)
        _, kept = yield from filtering(case, dataset, device, [None] * n, seeds)
        trained = yield [
            *(Train(dataset, device, vanilla, seed, keep_states=True) for seed in seeds),
            *(
                Train(dataset, device, defended, seed, keep=keep, keep_states=True)
                for seed, keep in zip(seeds, kept, strict=True)
            ),
        ]
        plain, shaped = trained[:n], trained[n:]
        metrics = epochs.estimates(partial(epochs.of_defense, plain, shaped), chosen=self.accuracy)
        regions = self._regions(defended, shaped, dataset)
        for suffix, found in (("", regions), ("_vanilla", self._regions(vanilla, plain, dataset))):
            metrics[f"boundary_length{suffix}"] = mean_over_seeds([one.boundary_length for one in found])
            metrics[f"uncertain_area{suffix}"] = mean_over_seeds([one.uncertain_area() for one in found])
        details = {
            "accuracy": self.accuracy,
            "train_rows": len(dataset.train),
            "test_rows": len(dataset.test),
            **setup_of(defended),
            "diverged": sum(result.diverged is not None for result in trained),
            "picture": _picture(regions[0], dataset.train),
        }
        return Measurement(metrics, details)

    def _regions(self, recipe: Recipe, results: Sequence[TrainingResult], dataset: Dataset) -> list[Regions]:
        """What each of the models decides."""
        found = []
        for result in results:
            state = result.best if self.accuracy == "best" else result.last
            assert state is not None
            model = classifier(recipe, state, num_classes=dataset.num_classes)
            found.append(decision_regions(model, side=self.side))
        return found


def _picture(regions: Regions, train: Split) -> dict[str, Any]:
    """What a plot needs of the first seed, as plain values: a byte a cell, in hexadecimal, from below and left."""
    x, y = train.x[:_POINTS], train.y[:_POINTS]
    return {
        "side": regions.side,
        "classes": _hex(regions.classes),
        "confidence": _hex((regions.confidence * 255).round()),
        "train": [
            [round(first, 3), round(second, 3), label]
            for (first, second), label in zip(x.tolist(), y.tolist(), strict=True)
        ],
    }


def _hex(values: Tensor) -> str:
    return bytes(values.flatten().to(torch.uint8).tolist()).hex()
