"""Trains many victims, in stacks where that is possible."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from gradshape import _global_state, _validate, models
from gradshape.clipping import release_workspaces
from gradshape.clipping.ensemble import NotStackable
from gradshape.data import Dataset, GuardedCopies, own_copy
from gradshape.training._epochs import train_stack
from gradshape.training.family import Family, Learned
from gradshape.training.plan import FAMILIES, ONE_BY_ONE, family_of, plan
from gradshape.training.victim import TrainingResult, Victim, check_victim
from gradshape.training.workload import DEFAULT_MEMORY, Workload


@dataclass(frozen=True)
class Progress:
    """How far a call of :func:`train_victims` is.

    Attributes:
        epoch, epochs: number of epochs done, and of all epochs, in the present stack.
        victims: number of victims in the present stack that this epoch trained.
        model: name of what is trained.
        work_done, work: number of victim-epochs done, and of all of them, in the whole call. Those that a victim no
            longer needs, because it predicts what was intended, count as done.
    """

    epoch: int
    epochs: int
    victims: int
    model: str
    work_done: int
    work: int


def train_victims(
    dataset: Dataset,
    victims: Sequence[Victim],
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    max_memory: int = DEFAULT_MEMORY,
    keep_states: bool = True,
    stacked: bool = True,
    families: Sequence[Family] = (),
    progress: Callable[[Progress], None] | None = None,
) -> list[TrainingResult]:
    """Train every victim and return one result a victim, in order.

    Each is trained by the first family that takes it. Victims that share architecture, schedule and shuffle are trained
    as one stack, see :func:`stack_key`: plain ReLU networks, and other models without random numbers whose layers all
    have rules for per-sample gradients, on CPUs only if their steps are small. Every other model is trained on its own,
    and a :class:`Fit` recipe by its estimator. A victim's result does not depend on which victims stand beside it, on
    their order or on ``max_memory``, up to floating-point rounding.

    Args:
        dataset: shared by all victims; only their private rows differ.
        victims: what to train.
        device: where they are trained.
        dtype: float32, or float64 to compare runs to many digits.
        max_memory: bytes that a stack may take, with its results and the tables of rows that all stacks share. It
            bounds how many victims share a stack (as on CPUs the cache does for plain ReLU networks), and how many rows
            are differentiated at a time for a victim that is trained on its own. A single victim is always trained,
            whatever it takes.
        keep_states: keep parameters in the results.
        stacked: ``False`` trains every victim on its own with autograd (the reference for stacks).
        families: ways of training of the caller's own, which are asked first. They get copies of the rows, and what
            they return is copied. The benchmark harness passes none: the victims of its cases are trained by the
            built-in families.
        progress: called after every epoch of every stack.

    Raises:
        TypeError: one of ``victims`` is none.
        ValueError: a victim's rows or initial state do not fit the data set or its model; the message
            names the victim's index. Or one of ``families`` wrote to the rows; the message names it.

    >>> from gradshape import data
    >>> from gradshape.training import SGD, Recipe
    >>> recipe = Recipe("lr", SGD(0.5), batch_size=50, epochs=2)
    >>> results = train_victims(data.load("two_moons"), [Victim(recipe, seed) for seed in (1, 2)])
    >>> [len(result.accuracy) for result in results]
    [2, 2]
    """
    results: list[TrainingResult | None] = [None] * len(victims)
    for members, finished in train_stacks(
        dataset,
        victims,
        device=device,
        dtype=dtype,
        max_memory=max_memory,
        keep_states=keep_states,
        stacked=stacked,
        families=families,
        progress=progress,
    ):
        for index, result in zip(members, finished, strict=True):
            results[index] = result
    return [result for result in results if result is not None]


def train_stacks(
    dataset: Dataset,
    victims: Sequence[Victim],
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    max_memory: int = DEFAULT_MEMORY,
    keep_states: bool = True,
    stacked: bool = True,
    families: Sequence[Family] = (),
    progress: Callable[[Progress], None] | None = None,
) -> Iterator[tuple[tuple[int, ...], list[TrainingResult]]]:
    """Train as :func:`train_victims` does, and yield places in ``victims`` and their results as stacks finish."""
    _validate.positive_int(max_memory=max_memory)
    for index, victim in enumerate(victims):
        if not isinstance(victim, Victim):
            raise TypeError(f"victim {index}: {victim!r}: expected a Victim, as in Victim(recipe, seed)")
    retrained = {victim.recipe.model for victim in victims if victim.initial is not None and not victim.fitted}
    templates = {
        name: models.build(name, dataset.input_shape, dataset.num_classes, units=dataset.units) for name in retrained
    }
    for index, victim in enumerate(victims):
        check_victim(victim, dataset, f"victim {index}", template=templates.get(victim.recipe.model))
    if not victims:
        return
    work = Workload(
        dataset,
        victims,
        device=torch.device(device),
        dtype=dtype,
        max_memory=max_memory,
        keep_states=keep_states,
    )
    report, copies = _Reporter(victims, progress), GuardedCopies()
    if families:
        work = _on_copies(work, copies)
    for family, members in plan(work, [*families, *(FAMILIES if stacked else ONE_BY_ONE)]):
        foreign = family in families
        try:
            results = _results(work, family, members, report, taken=own_copy if foreign else _as_it_is)
        except NotStackable:
            # What a network does may depend on how many rows there are, which shows as they come.
            if foreign:
                raise
            alone = [
                (family_of(work.dataset, work.victims[index], work.device, ONE_BY_ONE), index) for index in members
            ]
            results = [
                result for one, index in alone for result in _results(work, one, (index,), report, taken=_as_it_is)
            ]
        if foreign:
            copies.check(f"the family {type(family).__name__}")
        release_workspaces()
        yield members, results


def _results(
    work: Workload,
    family: Family,
    members: tuple[int, ...],
    report: "_Reporter",
    *,
    taken: Callable[[Learned], Learned],
) -> list[TrainingResult]:
    together = [work.victims[index] for index in members]
    # Networks, estimators, parts of shapers and families may be a user's code.
    with _global_state.restored(), report.of(together) as after_epoch:
        return train_stack(together, family.stack(work, members), after_epoch, taken=taken)


def _as_it_is(learned: Learned) -> Learned:
    return learned


def _on_copies(work: Workload, copies: GuardedCopies) -> Workload:
    """Return the same work on copies of all rows and states."""

    def on_copies(place: int, victim: Victim) -> Victim:
        name, private, watch, initial = f"victim {place}'s", victim.private, victim.watch, victim.initial
        return replace(
            victim,
            private=None if private is None else copies.copy_of_rows(f"{name} private", private),
            watch=None if watch is None else copies.copy_of(f"{name} watch", watch),
            initial=None if initial is None else copies.copy_of_state(f"{name} initial", initial),
        )

    victims = [on_copies(place, victim) for place, victim in enumerate(work.victims)]
    return replace(work, dataset=copies.copy_of_dataset(work.dataset), victims=victims)


class _Reporter:
    def __init__(self, victims: Sequence[Victim], progress: Callable[[Progress], None] | None) -> None:
        self._progress = progress
        self._done = 0
        self._work = sum(victim.recipe.epochs for victim in victims)

    @contextmanager
    def of(self, members: Sequence[Victim]) -> Iterator[Callable[[int, int], None]]:
        """Give what is to be called after the epochs of a stack; what failed counts as not done."""
        recipe = members[0].recipe
        training, before = len(members), self._done

        def after_epoch(epoch: int, going: int) -> None:
            nonlocal training
            # Epochs that are not needed any more count as done.
            self._done += training + (training - going) * (recipe.epochs - epoch)
            if self._progress is not None:
                state = Progress(epoch, recipe.epochs, training, recipe.model, self._done, self._work)
                self._progress(state)
            training = going

        try:
            yield after_epoch
        except BaseException:
            self._done = before
            raise
