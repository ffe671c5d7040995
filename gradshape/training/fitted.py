"""Training a victim that is no network, by its own ``fit``."""

import numpy as np
import torch
from torch import Tensor

from gradshape import _seeds, learners
from gradshape.data import Dataset
from gradshape.learners.registry import Array
from gradshape.training.recipe import Fit
from gradshape.training.victim import TrainingResult, Victim


def fit_one(dataset: Dataset, victim: Victim, recipe: Fit, kept: Tensor) -> TrainingResult:
    """Fit ``recipe``'s estimator on the train rows ``kept`` (ids) and the victim's private rows, and evaluate it.

    Rows are shuffled by the victim's seed, as a network would see them. An estimator that cannot take the rows (a
    classifier that is given one class only) predicts what is left to predict: that class.
    """
    train, test = dataset.train, dataset.test
    x, y = train.x[kept], train.y[kept]
    if victim.private is not None:
        x, y = torch.cat([x, victim.private.x]), torch.cat([y, victim.private.y])
    order = torch.randperm(len(y), generator=_seeds.stream(victim.shuffle_seed, "fit order"))
    labels = y[order].double().numpy() if dataset.regression else y[order].numpy()
    present = np.unique(labels)
    predict = None
    if dataset.regression or len(present) > 1:
        estimator = learners.build(recipe.model, dict(recipe.settings), seed=_seeds.derive(victim.seed, "fit") >> 31)
        estimator.fit(_rows(x[order]), labels)
        predict = estimator.predict

    def predicted(rows: Tensor) -> Tensor:
        if predict is None:
            return torch.full((len(rows),), int(present[0]))
        found = learners.check_predictions(predict(_rows(rows)), len(rows), recipe.model)
        return torch.from_numpy(np.ascontiguousarray(found)).to(y.dtype)

    on_test = predicted(test.x)
    watched = None if victim.watch is None or not len(victim.watch) else predicted(victim.watch).unsqueeze(0)
    if dataset.regression:
        mse = float((on_test.double() - test.y.double()).square().mean())
        return TrainingResult(torch.empty(0, dtype=torch.float64), mse=mse)
    accuracy = (on_test == test.y).double().mean().reshape(1)
    return TrainingResult(accuracy, predictions=watched)


def _rows(x: Tensor) -> Array:
    return x.flatten(1).double().numpy()
