"""One training, and what is known after it."""

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from enum import Enum

import torch
from torch import Tensor, nn

from gradshape.data import Dataset, Split
from gradshape.training.probe import GradientProbe, SubsetGradients
from gradshape.training.recipe import AnyRecipe, Fit, Recipe
from gradshape.training.state import State, check_state


class Scoring(Enum):
    """When test rows are predicted.

    Attributes:
        EVERY_EPOCH: after every epoch.
        AT_END: after the last epoch that is run, only: where many victims end early, that saves a third of the time.
    """

    EVERY_EPOCH = "every epoch"
    AT_END = "at the end"


@dataclass(frozen=True, eq=False)
class OptimizerState:
    """What an optimizer remembers between steps.

    Attributes:
        steps: number of steps taken.
        slots: moments by parameter name: none for plain SGD, else the momentum, or Adam's first and second moments.
    """

    steps: int
    slots: tuple[State, ...] = ()


@dataclass(frozen=True, eq=False)
class Victim:
    """One training on a data set's train split, less some rows, plus private ones.

    Args:
        recipe: how it is trained.
        seed: source of the initial weights, the noise, dropout, and the places of the private rows in the shuffles.
        private: rows that only this victim trains on (its poison), ``x (n, *shape)`` and ``y (n,)``.
        removed: ids ``(m,)`` int64 of train rows that it does not train on.
        initial: parameters and buffers by name, to re-train from; freshly drawn from ``seed`` if ``None``.
        order_seed: source of the shuffles of the train rows; ``seed`` if ``None``. Victims with the same one see the
            same train rows at the same time, whatever private rows each of them has.
        watch: inputs ``(M, *shape)`` to predict after every epoch.
        intended: ``(M,)`` int64 classes: training ends after the first epoch in which every watched row is predicted as
            the class that is intended for it. ``None`` to train to the end.
        probe: measures the gradients of its private rows apart from those of the train rows. The victim is then trained
            on its own.
        initial_optimizer: what the optimizer remembers from the training that ``initial`` comes from; it begins afresh
            if ``None``.
        keep_optimizer: whether the result holds what the optimizer remembers, for another training to go on with.
        scoring: when test rows are predicted.
    """

    recipe: AnyRecipe
    seed: int
    private: Split | None = None
    _: KW_ONLY
    removed: Tensor | None = None
    initial: Mapping[str, Tensor] | None = None
    order_seed: int | None = None
    watch: Tensor | None = None
    intended: Tensor | None = None
    probe: GradientProbe | None = None
    initial_optimizer: OptimizerState | None = None
    keep_optimizer: bool = False
    scoring: Scoring = Scoring.EVERY_EPOCH

    @property
    def num_private(self) -> int:
        return 0 if self.private is None else len(self.private)

    @property
    def fitted(self) -> bool:
        """Whether an estimator's own ``fit`` trains it, rather than gradient steps."""
        return isinstance(self.recipe, Fit)

    @property
    def fit(self) -> Fit:
        """The recipe of a victim that is fitted by an estimator.

        Raises:
            TypeError: it is trained by gradient steps.
        """
        if not isinstance(self.recipe, Fit):
            raise TypeError(f"recipe={self.recipe!r}: expected a Fit, trained by an estimator")
        return self.recipe

    @property
    def descent(self) -> Recipe:
        """The recipe of a victim that is trained by gradient steps.

        Raises:
            TypeError: it is fitted by an estimator.
        """
        if not isinstance(self.recipe, Recipe):
            raise TypeError(f"recipe={self.recipe!r}: expected a Recipe, trained by gradient steps")
        return self.recipe

    @property
    def shuffle_seed(self) -> int:
        """The seed that the shuffles of the train rows come from."""
        return self.seed if self.order_seed is None else self.order_seed


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """What one training measured.

    Attributes:
        accuracy: ``(epochs,)`` float64 test accuracy after each epoch that was run, in [0, 1]; only that after the last
            one, ``(1,)``, if the victim is scored at the end. A row whose logits are not finite counts as
            misclassified. Empty for regression.
        predictions: ``(epochs, M)`` int64 classes of the victim's watched rows after each epoch, -1 where the
            logits are not finite; ``None`` if it watches none.
        last, best: parameters and buffers by name after the last epoch and after the (first) epoch with the best
            test accuracy, on the CPU; ``None`` if they were not kept. If the victim is scored at the end, both are the
            same.
        diverged: number of the first epoch, from 1, after which a logit, or a number that an estimator predicts, was
            not finite; ``None`` if all were.
        mse: mean squared error on the test rows, for regression, not finite if it diverged; ``None`` for classes.
        gradients: what the victim's probe measured; ``None`` if it has none.
        last_optimizer, best_optimizer: what the optimizer remembered after the epochs of ``last`` and ``best``;
            ``None`` if that was not kept.
    """

    accuracy: Tensor
    _: KW_ONLY
    predictions: Tensor | None = None
    last: State | None = None
    best: State | None = None
    diverged: int | None = None
    mse: float | None = None
    gradients: SubsetGradients | None = None
    last_optimizer: OptimizerState | None = None
    best_optimizer: OptimizerState | None = None

    @property
    def last_accuracy(self) -> float:
        return float(self.accuracy[-1])

    @property
    def best_accuracy(self) -> float:
        return float(self.accuracy.max())

    @property
    def best_epoch(self) -> int:
        """Number of the first epoch with the best test accuracy, from 1, among those after which it was measured."""
        return int(self.accuracy.argmax()) + 1


def check_victim(victim: Victim, dataset: Dataset, where: str, *, template: nn.Module | None) -> None:
    """Raise ``ValueError`` if the victim's rows do not fit the data set, or its initial state its model.

    ``where`` opens the message; ``template`` is a model of its kind, needed if it has an initial state.
    """
    rows, classes = len(dataset.train), dataset.num_classes
    if victim.private is not None:
        x, y = victim.private.x, victim.private.y
        if tuple(x.shape[1:]) != dataset.input_shape or len(x) != len(y):
            raise ValueError(
                f"{where}: private rows have x {tuple(x.shape)} and y {tuple(y.shape)}: "
                f"expected (n, {', '.join(map(str, dataset.input_shape))}) and (n,)"
            )
        if not dataset.regression and len(y) and (y.min() < 0 or y.max() >= classes):
            raise ValueError(f"{where}: the private label {_outside(y, classes)} lies outside [0, {classes})")
    removed = 0
    if victim.removed is not None and len(victim.removed):
        removed = len(victim.removed)
        if victim.removed.min() < 0 or victim.removed.max() >= rows:
            raise ValueError(f"{where}: the removed id {_outside(victim.removed, rows)} lies outside [0, {rows})")
        ids, counts = victim.removed.unique(return_counts=True)
        if len(ids) != removed:
            raise ValueError(f"{where}: id {int(ids[counts > 1][0])} is removed more than once: expected distinct ids")
    if rows - removed + victim.num_private == 0:
        raise ValueError(f"{where}: no training rows are left: expected at least 1")
    if victim.watch is not None and tuple(victim.watch.shape[1:]) != dataset.input_shape:
        raise ValueError(
            f"{where}: watched rows have shape {tuple(victim.watch.shape)}: expected (M, *{dataset.input_shape})"
        )
    if victim.intended is not None:
        _check_intended(victim.intended, victim.watch, classes, where)
    if victim.probe is not None:
        _check_probe(victim.probe, victim, rows - removed, where)
    if victim.fitted:
        if victim.initial is not None:
            raise ValueError(f"{where}: {victim.recipe.model!r} is fitted from scratch: expected initial=None")
    elif dataset.regression:
        raise ValueError(
            f"{where}: model {victim.recipe.model!r} predicts classes and {dataset.name} is a regression task: "
            "use a Fit recipe of a regressor"
        )
    if victim.initial is not None and template is not None:
        try:
            check_state(template, victim.initial)
        except ValueError as error:
            raise ValueError(f"{where}: initial: {error}") from None
    if victim.initial_optimizer is not None:
        parameters = {} if template is None else dict(template.named_parameters())
        trained = {name: tuple(p.shape) for name, p in parameters.items() if p.requires_grad}
        _check_optimizer(victim, victim.initial_optimizer, trained, where)


def _check_optimizer(victim: Victim, state: OptimizerState, trained: Mapping[str, tuple[int, ...]], where: str) -> None:
    if victim.initial is None or victim.fitted:
        raise ValueError(f"{where}: an optimizer's state is given without initial parameters: expected both or neither")
    if not isinstance(state.steps, int) or isinstance(state.steps, bool) or state.steps < 0:
        raise ValueError(f"{where}: initial_optimizer has steps={state.steps!r}: expected an integer of at least 0")
    optimizer = victim.descent.optimizer
    if len(state.slots) not in ((optimizer.slots,) if state.steps else (0, optimizer.slots)):
        raise ValueError(
            f"{where}: initial_optimizer has {len(state.slots)} moments after {state.steps} steps: "
            f"expected {optimizer.slots}, those of {optimizer!r}"
        )
    for number, slot in enumerate(state.slots):
        given = {name: tuple(moment.shape) for name, moment in slot.items()}
        if given != trained:
            raise ValueError(f"{where}: initial_optimizer has moments of {given}: expected {trained}")
        lowest = 0.0 if number in optimizer.squares else -math.inf
        for name, moment in slot.items():
            if not bool((moment.isfinite() & (moment >= lowest)).all()):
                what = "numbers of at least 0, being means of squares" if lowest == 0 else "numbers"
                raise ValueError(f"{where}: initial_optimizer, moment {number} of {name!r}: expected finite {what}")


def _check_probe(probe: GradientProbe, victim: Victim, clean_rows: int, where: str) -> None:
    if victim.fitted:
        raise ValueError(
            f"{where}: {victim.recipe.model!r} is fitted and has no gradients to measure: expected probe=None"
        )
    if probe.placebo is not None and probe.placebo > clean_rows:
        raise ValueError(f"{where}: placebo={probe.placebo}: expected at most the number of train rows, {clean_rows}")


def _check_intended(intended: Tensor, watch: Tensor | None, num_classes: int, where: str) -> None:
    if watch is None or len(watch) == 0:
        raise ValueError(f"{where}: intended classes are those of watched rows: set watch, or leave intended None")
    if tuple(intended.shape) != (len(watch),) or intended.dtype != torch.int64:
        raise ValueError(
            f"{where}: intended classes have shape {tuple(intended.shape)} and dtype {intended.dtype}: "
            f"expected ({len(watch)},) int64, one a watched row"
        )
    if intended.min() < 0 or intended.max() >= num_classes:
        value = _outside(intended, num_classes)
        raise ValueError(f"{where}: an intended class {value} lies outside [0, {num_classes})")


def _outside(values: Tensor, count: int) -> int:
    """Return the first of the values that are outside ``[0, count)``."""
    return int(values[(values < 0) | (values >= count)][0])
