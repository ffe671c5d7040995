"""Train on clean data of two features, and look at which class every point of the plane is given."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.analysis import Regions, classifier, decision_regions
from gradshape.attacks import Attack
from gradshape.data import Dataset, Split
from gradshape.metrics import mean_over_seeds, share_over_seeds
from gradshape.training import AnyRecipe, Recipe, TrainingResult
from gradshape.unsuitable import Unsuitable
from gradshape_bench.protocols import effect_metrics
from gradshape_bench.protocols.accuracy import Accuracy
from gradshape_bench.protocols.base import Experiment, Subject
from gradshape_bench.protocols.base_models import by_gradients, lacks_gradients
from gradshape_bench.protocols.lab import Lab

# Of the training rows, as many as a picture can show.
_POINTS = 1000


@dataclass(frozen=True)
class DecisionBoundary:
    """There is no attack: for each seed the vanilla and the defended recipe on clean data, and both models' decisions.

    Args:
        accuracy: which epoch's model is looked at.
        side: cells along a side of the grid over the unit square.

    Raises:
        ValueError: ``side`` is not positive, or ``accuracy`` is not an :class:`Accuracy`.

    Hong et al. 2020, Appendix D, Fig. 10.
    """

    accuracy: Accuracy = Accuracy.BEST
    side: int = 64

    def __post_init__(self) -> None:
        _validate.member(Accuracy, accuracy=self.accuracy)
        _validate.positive_int(side=self.side)

    @property
    def label(self) -> str:
        return f"boundary{self.accuracy.suffix}"

    def refuses(self, attack: Attack, recipe: AnyRecipe) -> str | None:
        """Return why the recipe is none for it: it needs gradients."""
        return lacks_gradients(recipe, self.label)

    def run(self, case: Subject, lab: Lab) -> Experiment:
        """Run the experiment of one case.

        Raises:
            ValueError: the data has not two features and classes, the case has an attack or a recipe without
                gradients, or a model has no decision at some point.
        """
        dataset = lab.dataset
        if dataset.regression or dataset.input_shape != (2,):
            task = "values" if dataset.regression else f"{dataset.num_classes} classes"
            raise Unsuitable(
                f"{dataset.name} has rows of shape {dataset.input_shape} and {task}: {self.label} expects shape (2,) "
                "and classes"
            )
        lab.check_no_attack(self.label)
        recipes = [by_gradients(recipe, self.label) for recipe in (case.vanilla, case.recipe)]
        trained = yield from lab.ask(
            lab.train_unfiltered(recipes[0], keep_states=True), lab.train(recipes[1], keep_states=True)
        )
        metrics = self.accuracy.estimates(partial(effect_metrics.utility_metrics, *trained))
        vanilla, defended = (
            [self._regions(recipe, result, dataset) for result in results]
            for recipe, results in zip(recipes, trained, strict=True)
        )
        for suffix, found in (("", defended), ("_vanilla", vanilla)):
            metrics[f"boundary_length{suffix}"] = mean_over_seeds([one.boundary_length for one in found])
            metrics[f"uncertain_area{suffix}"] = share_over_seeds([one.uncertain_area() for one in found])
        return lab.measurement(
            metrics,
            recipe=recipes[1],
            accuracy=self.accuracy,
            picture=_picture(defended[0], dataset.train),
        )

    def _regions(self, recipe: Recipe, result: TrainingResult, dataset: Dataset) -> Regions:
        """Return what a trained model decides at every point of the plane."""
        state = result.best if self.accuracy is Accuracy.BEST else result.last
        assert state is not None
        return decision_regions(classifier(recipe, state, num_classes=dataset.num_classes), side=self.side)


def _picture(regions: Regions, train: Split) -> dict[str, Any]:
    """Return what a plot needs, as plain values; cells are bytes in hexadecimal, row by row from the lower left."""
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
