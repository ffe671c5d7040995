"""Training many victims, in stacks where that is possible."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch

from gradshape import _validate, models
from gradshape.clipping import release_workspaces
from gradshape.data import Dataset
from gradshape.training.dense_lanes import DenseLanes
from gradshape.training.fitted import fit_one
from gradshape.training.loop import train_one
from gradshape.training.memory import Memory
from gradshape.training.model_stack import ModelStack
from gradshape.training.plan import Stack, Table, kept_rows, own_order, own_orders, plan, row_order, stack_key
from gradshape.training.recipe import Fit, Recipe
from gradshape.training.rows import Rows
from gradshape.training.stacked import Lanes, train_stack
from gradshape.training.transfer import DeviceRows
from gradshape.training.victim import TrainingResult, Victim, check_victim

DEFAULT_MEMORY = 2 << 30


@dataclass(frozen=True)
class Progress:
    """How far a call of :func:`train_victims` is.

    Attributes:
        epoch, epochs: epochs done and to do in the present stack.
        victims: number of victims in the present stack that this epoch trained.
        model: what is trained.
        work_done, work: victim-epochs done and to do in the whole call. Those that a victim no longer needs, because it
            predicts what was wanted, count as done.
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
    progress: Callable[[Progress], None] | None = None,
) -> list[TrainingResult]:
    """Train every victim; one result a victim, in order.

    Victims that share architecture, schedule and shuffle are trained as one stack, see :func:`stack_key`: plain ReLU
    networks, and other models without random numbers whose layers all have rules for per-sample gradients, on CPUs only
    if their steps are small. Every other model is trained on its own, and a :class:`Fit`
    recipe by its estimator. A victim's result does not depend on which victims stand beside it, on their order or on
    ``max_memory``, up to floating-point rounding.

    Args:
        dataset: shared by all victims; only their private rows differ.
        victims: what to train.
        device: where.
        dtype: float32, or float64 to compare runs to many digits.
        max_memory: bytes that a stack may take, with its results and the tables of rows that all stacks share; it
            bounds how many victims share one, as on CPUs the cache does for plain ReLU networks, and of a victim on its
            own how many rows are differentiated at a time.
            A single victim is trained whatever it takes.
        keep_states: keep parameters in the results.
        stacked: ``False`` trains every victim on its own with autograd (the reference for stacks).
        progress: called after every epoch of every stack.

    Raises:
        ValueError: a victim's rows or initial state do not fit the data set or its model; the message
            names the victim's index.

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
    progress: Callable[[Progress], None] | None = None,
) -> Iterator[tuple[tuple[int, ...], list[TrainingResult]]]:
    """As :func:`train_victims`, stack by stack: yields places in ``victims`` and their results as they finish."""
    _validate.positive_int(max_memory=max_memory)
    retrained = {
        victim.recipe.model for victim in victims if victim.initial is not None and isinstance(victim.recipe, Recipe)
    }
    templates = {name: models.build(name, dataset.input_shape, dataset.num_classes) for name in retrained}
    for index, victim in enumerate(victims):
        check_victim(victim, dataset, f"victim {index}", template=templates.get(victim.recipe.model))
    if not victims:
        return
    device = torch.device(device)
    table = Table.of(dataset, victims)
    keys = [stack_key(dataset, victim, device=device) if stacked else None for victim in victims]
    report = _Reporter(victims, progress)
    tables = _Tables(dataset, victims, table, device=device, dtype=dtype, max_memory=max_memory)
    memory = Memory(dataset, rows=len(table.y), dtype=dtype, keep_states=keep_states, device=device)
    for stack in plan(dataset, victims, keys, most=partial(memory.victims, max_memory)):
        members = [victims[index] for index in stack.members]
        results = train_stack(members, tables.lanes(stack), keep_states=keep_states, after_epoch=report.of(members))
        release_workspaces()
        yield stack.members, results
    for index, victim in enumerate(victims):
        if keys[index] is not None:
            continue
        if isinstance(victim.recipe, Fit):
            yield (index,), [fit_one(dataset, victim, victim.recipe, kept_rows(dataset, victim))]
            report.of([victim])(1, 0)
            continue
        rows, test = tables.models
        result = train_one(
            dataset,
            victim,
            rows,
            test,
            own_order(dataset, victims, index, table),
            device=device,
            dtype=dtype,
            max_memory=max_memory,
            keep_states=keep_states,
            after_epoch=report.of([victim]),
        )
        release_workspaces()
        yield (index,), [result]


class _Tables:
    """Train and test rows in the forms that the ways of training take, made when they are needed."""

    def __init__(
        self,
        dataset: Dataset,
        victims: Sequence[Victim],
        table: Table,
        *,
        device: torch.device,
        dtype: torch.dtype,
        max_memory: int,
    ) -> None:
        self._dataset = dataset
        self._victims = victims
        self._table = table
        self._device = device
        self._dtype = dtype
        self._max_memory = max_memory

    @cached_property
    def dense(self) -> tuple[Rows, Rows]:
        """Rows of dense stacks."""
        test = self._dataset.test
        parts = ((self._table.x, self._table.y), (test.x, test.y))
        rows, of_test = (Rows.of(x, y, dtype=self._dtype, device=self._device) for x, y in parts)
        return rows, of_test

    @cached_property
    def models(self) -> tuple[DeviceRows, DeviceRows]:
        """Rows of all other models."""
        test = self._dataset.test
        parts = ((self._table.x, self._table.y), (test.x, test.y))
        # The tables may take half of the memory; what does not fit comes to the device batch by batch.
        rows, of_test = (
            DeviceRows(x, y, device=self._device, dtype=self._dtype, max_bytes=self._max_memory // 4) for x, y in parts
        )
        return rows, of_test

    def lanes(self, stack: Stack) -> Lanes:
        """The victims of a stack with their rows."""
        dataset, victims = self._dataset, self._victims
        members = [victims[index] for index in stack.members]
        if stack.dense:
            return DenseLanes(dataset, members, *self.dense, row_order(dataset, victims, stack.members, self._table))
        orders = own_orders(dataset, victims, stack.members, self._table)
        return ModelStack(dataset, members, *self.models, orders, device=self._device, dtype=self._dtype)


class _Reporter:
    def __init__(self, victims: Sequence[Victim], progress: Callable[[Progress], None] | None) -> None:
        self._progress = progress
        self._done = 0
        self._work = sum(victim.recipe.epochs for victim in victims)

    def of(self, members: Sequence[Victim]) -> Callable[[int, int], None]:
        recipe = members[0].recipe
        training = len(members)

        def after_epoch(epoch: int, going: int) -> None:
            nonlocal training
            # Epochs that are not needed any more are done with.
            self._done += training + (training - going) * (recipe.epochs - epoch)
            if self._progress is not None:
                state = Progress(epoch, recipe.epochs, training, recipe.model, self._done, self._work)
                self._progress(state)
            training = going

        return after_epoch
