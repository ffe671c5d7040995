"""The family of learners that are no networks: each is fitted on its own, by its ``fit``."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from gradshape import _seeds, learners
from gradshape._randomness import process_randomness
from gradshape.data import Dataset, Split
from gradshape.learners.registry import Array
from gradshape.training._curves import score
from gradshape.training._prepared_rows import row_table
from gradshape.training.family import Learned, Needs, Score
from gradshape.training.victim import Victim
from gradshape.training.workload import Workload


class EstimatorFamily:
    """See :class:`gradshape.training.family.Family`."""

    def takes(self, dataset: Dataset, victim: Victim, device: torch.device) -> bool:
        """Return True for victims of a :class:`gradshape.training.Fit`."""
        return victim.fitted

    def shares(self, dataset: Dataset, victim: Victim) -> None:
        """Return None: each victim is trained on its own."""

    def needs(self, work: Workload, group: Sequence[Victim]) -> Needs:
        """Return the whole memory, as what an estimator needs is not known."""
        return Needs(0, work.max_memory)

    def stack(self, work: Workload, members: Sequence[int]) -> "_Estimator":
        (index,) = members
        return _Estimator(work, index)


class _Estimator:
    """One estimator, see :class:`gradshape.training.family.Stack`; its one epoch is the fit.

    Rows are shuffled by the victim's seed, as a network would see them. Where all rows have one class, classifiers
    cannot be fitted, and that class is predicted. An estimator has diverged if it predicts something that is not
    finite.
    """

    def __init__(self, work: Workload, index: int) -> None:
        self._dataset = work.dataset
        self._victim = work.victims[index]
        self._kept = row_table(work).kept(index)
        self._predict: Callable[[Tensor], Tensor]
        self._errors: Tensor | None = None

    def train(self, epoch: int) -> None:
        train, victim, recipe = self._dataset.train, self._victim, self._victim.fit
        x, y = train.x[self._kept], train.y[self._kept]
        if victim.private is not None:
            x, y = torch.cat([x, victim.private.x]), torch.cat([y, victim.private.y])
        order = torch.randperm(len(y), generator=_seeds.stream(victim.shuffle_seed, "fit order"))
        if not self._dataset.regression and len(y) and bool((y == y[0]).all()):
            self._predict = lambda rows: torch.full((len(rows),), int(y[0]))
            return
        with self._randomness("fit draws"):
            estimator = learners.build(
                recipe.model, dict(recipe.settings), seed=_seeds.derive(victim.seed, "fit") >> 31
            )
            learner = estimator if isinstance(estimator, learners.OnRows) else _OnTables(estimator)
            with learners.keeping_apart(recipe.model, dict(recipe.settings)):
                learner.fit_rows(Split(self._own(x[order]), y[order].clone()))

        def predict(rows: Tensor) -> Tensor:
            with self._randomness("predict draws"):
                predicted = learner.predict_rows(self._own(rows))
            if self._dataset.regression:
                return torch.from_numpy(learners.check_values(predicted, len(rows), recipe.model)).to(y.dtype)
            classes = learners.check_classes(predicted, len(rows), self._dataset.num_classes, recipe.model)
            return torch.from_numpy(classes)

        self._predict = predict

    def _own(self, x: Tensor) -> Tensor:
        """Return rows as a learner of the user's own takes them; those of the library take rows in [0, 1]."""
        units = self._dataset.units
        return x if units is None or learners.is_ours(self._victim.recipe.model) else units.from_unit(x)

    def _randomness(self, stream: str) -> AbstractContextManager[None]:
        """Seed the generators of the process from the victim's seed, for estimators that may draw from them."""
        if learners.is_ours(self._victim.recipe.model):
            return nullcontext()
        return process_randomness(torch.device("cpu"), _seeds.derive(self._victim.seed, stream))

    def watched(self) -> Tensor | None:
        """Return the predictions of :meth:`gradshape.training.family.Stack.watched`; ``None`` for regression."""
        watch = self._victim.watch
        return None if self._dataset.regression or watch is None or not len(watch) else self._predict(watch)[None]

    def score(self, places: Sequence[int]) -> Score:
        test = self._dataset.test
        if self._dataset.regression:
            self._errors = self._predict(test.x).double() - test.y.double()
            return Score(torch.full((1,), torch.nan, dtype=torch.float64), self._errors.isfinite().all()[None])
        return score(lambda x: self._predict(x)[None], [(test.x, test.y)])

    def remember(self, places: Sequence[int]) -> None:
        """Do nothing, as there is one epoch only."""

    def learned(self, place: int) -> Learned:
        return Learned() if self._errors is None else Learned(mse=float(self._errors.square().mean()))

    def keep(self, places: Sequence[int]) -> None:
        """Do nothing, as there is one victim, which stays."""


@dataclass(frozen=True)
class _OnTables:
    """An estimator that takes rows as a table of float64, as scikit-learn's do."""

    estimator: learners.Estimator

    def fit_rows(self, rows: Split) -> None:
        y = rows.y.double() if rows.y.is_floating_point() else rows.y
        self.estimator.fit(_table(rows.x), y.numpy())

    def predict_rows(self, x: Tensor) -> Array:
        return self.estimator.predict(_table(x))


def _table(x: Tensor) -> Array:
    return x.flatten(1).double().numpy()
