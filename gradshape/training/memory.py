"""How much memory a stack takes, from above, so that as many victims share one as fit, and as are fast together."""

import math
import sys
from collections.abc import Sequence

import torch

from gradshape._threads import even_share
from gradshape.data import Dataset
from gradshape.shaping import Shaper
from gradshape.training.architecture import Architecture, RowSizes
from gradshape.training.noise import steps_per_block
from gradshape.training.optimizers import Optimizer
from gradshape.training.order import steps_per_epoch
from gradshape.training.plan import architecture_of
from gradshape.training.recipe import Sampling
from gradshape.training.rows import columns_of
from gradshape.training.victim import Victim

# Elements of the largest activation while test rows are evaluated: bounds memory, and stays in the cache.
_EVALUATION_ELEMENTS = 1 << 21
_CPU = torch.device("cpu")
# A generator, a result, and the small tensors around them.
_OBJECTS = 1 << 15
# Tensors of the modules' outputs' size that a step holds at once: outputs, their gradients, and what layers make of
# them without being seen, such as attention. Convolutional networks take about half of it.
_OF_OUTPUTS = 3
# Entries of gradients of single samples that are formed at a time, in all: the limit of the clipping.
_FORMED = 1 << 26
# Bytes of the parameters of dense victims that are trained together on a CPU: they stay in its cache from one step to
# the next, where those of more victims would come from memory at every step. With gradients and moments, which a step
# passes over once, all of these together may be twice as large.
_IN_CACHE = 5 << 20


def evaluation_elements(device: torch.device) -> int:
    """Elements of the activations while models are evaluated: many on devices that need much work at once."""
    return _EVALUATION_ELEMENTS if device.type == "cpu" else 32 * _EVALUATION_ELEMENTS


def rows_at_once(
    sizes: RowSizes, parameters: int, optimizer: Optimizer, *, shaped: bool, item: int, max_memory: int
) -> int:
    """How many rows one victim's step may take at a time, so that its training stays within ``max_memory``; at least 1.

    Args:
        sizes: of one row.
        parameters: number of parameters.
        optimizer: of the training.
        shaped: whether gradients of single samples are taken.
        item: bytes an element.
        max_memory: bytes.
    """
    # Beside the optimizer's, the states that are kept and one sum of gradients.
    left = max_memory - parameters * (_copies(optimizer) + 3) * item
    per_row = _OF_OUTPUTS * sizes.activations * item
    if not shaped:
        return max(1, left // max(1, per_row))
    whole = left // max(1, per_row + sizes.gradient * item)
    # Formed gradients are held up to a limit.
    bounded = (left - _FORMED * item) // max(1, per_row)
    return max(1, whole, bounded)


def most_in_cache(parameters: int, optimizer: Optimizer, device: torch.device) -> int:
    """How many dense victims with so many bytes of parameters are trained together; at least 1, any number on GPUs."""
    if device.type != "cpu":
        return sys.maxsize
    # Plain descent has no gradient apart from the parameters.
    room = 2 * _IN_CACHE // _copies(optimizer) if optimizer.slots else _IN_CACHE
    return even_share(room // parameters)


class Memory:
    """The memory of stacks on one data set.

    Args:
        dataset: what they are trained on.
        rows: number of rows in the table of training rows, private ones included.
        dtype: of everything.
        keep_states: whether parameters are kept in the results.
        device: where they are trained.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        rows: int,
        dtype: torch.dtype,
        keep_states: bool,
        device: torch.device = _CPU,
    ) -> None:
        self._dataset = dataset
        self._rows = rows
        self._item = dtype.itemsize
        self._keep_states = keep_states
        self._device = device
        self._inputs = math.prod(dataset.input_shape)
        self._columns = columns_of(self._inputs) + 2

    def victims(self, max_memory: int, group: Sequence[Victim]) -> int:
        """How many victims of ``group``, which may share a stack, do so within ``max_memory`` bytes; at least 1."""
        fit = max(1, int((max_memory - self.shared(group)) // self.per_victim(group)))
        architecture = architecture_of(self._dataset, group[0])
        if architecture.widths is None:
            return fit
        most = most_in_cache(architecture.parameters * self._item, group[0].descent.optimizer, self._device)
        return min(fit, most)

    def shared(self, group: Sequence[Victim]) -> int:
        """Bytes that are taken however many victims there are."""
        widths = architecture_of(self._dataset, group[0]).widths
        joined = self._rows * (4 * self._inputs + 8) if self._rows > len(self._dataset.train) else 0
        if widths is None:
            elements = _OF_OUTPUTS * evaluation_elements(self._device)
            on_device = 0 if self._device.type == "cpu" else self._rows * (4 * self._inputs + 8)
            return joined + on_device + elements * self._item
        tables = (self._rows + len(self._dataset.test)) * (self._item * self._columns + 8)
        batch = 2 * group[0].descent.batch_size * self._columns * self._item
        # What is evaluated at a time: what every layer makes and takes, and what the predictions are made of.
        most = min(evaluation_elements(self._device), len(self._dataset.test) * len(group) * max(widths))
        evaluation = most * self._item * (2 * sum(widths) / max(widths) + 1)
        return int(joined + tables + batch + evaluation)

    def per_victim(self, group: Sequence[Victim]) -> int:
        """Bytes that each victim of a stack out of ``group`` takes."""
        recipe, architecture = group[0].descent, architecture_of(self._dataset, group[0])
        private = max(victim.num_private for victim in group)
        batch = min(recipe.batch_size, len(self._dataset.train) + private)
        if recipe.sampling is Sampling.POISSON:  # More than this are as good as never drawn.
            batch += int(8 * batch**0.5)
        shapers = list(dict.fromkeys(victim.descent.shaper for victim in group))
        watched = max(0 if victim.watch is None else len(victim.watch) for victim in group)
        steps = steps_per_epoch(len(self._dataset.train) + private, recipe.batch_size)
        of_own = private if any(victim.order_seed is not None for victim in group) else 0

        # Of the optimizer's memory: the best epoch's, and the results' two.
        moments = 3 * recipe.optimizer.slots if any(victim.keep_optimizer for victim in group) else 0
        kept = 3 + moments if self._keep_states else 0
        elements = architecture.parameters * (_copies(recipe.optimizer) + kept)
        if architecture.widths is not None:
            of_step = self._dense(architecture.widths, batch, of_own, watched, shapers)
        else:
            of_step = self._model(architecture.sizes, architecture.parameters, batch, watched)
        # The record of a step has memory of its own.
        elements += of_step if self._device.type == "cpu" else 2 * of_step
        whole = elements * self._item
        # Ids, places and masks of rows; predictions.
        whole += 8 * (6 * of_own + 4 * steps + 2 * recipe.epochs * watched) + 24 * (batch + 2 * of_own)
        if architecture.widths is None and of_own:
            # Every victim's own order, its keys, and the copy that the steps are parts of.
            whole += 8 * 4 * (len(self._dataset.train) + private)
        if any(shaper.noisy for shaper in shapers):
            # Once more where victims leave the stack.
            leave = any(victim.wanted is not None for victim in group)
            whole += (1 + leave) * self._noise(architecture)
        whole += max(_statistics(shaper, batch, steps) for shaper in shapers)
        return int(whole) + _OBJECTS

    def _dense(self, widths: Sequence[int], batch: int, of_own: int, watched: int, shapers: Sequence[Shaper]) -> int:
        # Windows of victims with private rows of their own are so many rows apart, and have so many places for them.
        slots = min(of_own, batch)
        rows = min(batch + of_own, len(self._dataset.train)) + slots
        # What layers make and take, gradients of both, errors, squares of the widest layer, labels and places.
        elements = rows * (3 * sum(widths) + max(widths) + 1 + 6)
        if of_own:
            # Private rows, what the first layer makes of all, and its gradients.
            elements += rows * widths[0] + slots * (self._columns + 2 * widths[0])
        if any(shaper.needs_norms for shaper in shapers):
            elements += 8 * rows * (len(widths) if any(shaper.per_layer for shaper in shapers) else 1)
        return elements + watched * (2 * (self._inputs + 1) + 2 * sum(widths))

    def _model(self, sizes: RowSizes, parameters: int, batch: int, watched: int) -> int:
        # Rows, what they make, formed gradients, and the sum that becomes the gradient.
        formed = min(batch * sizes.gradient, _FORMED)
        of_rows = batch * (2 * self._inputs + _OF_OUTPUTS * sizes.activations)
        return of_rows + formed + parameters + watched * 2 * self._inputs

    def _noise(self, architecture: Architecture) -> int:
        laid_out = architecture.parameters
        if architecture.widths is not None:
            columns = [columns_of(self._inputs), *(width + 1 for width in architecture.widths[:-1])]
            laid_out = sum(n * outputs for n, outputs in zip(columns, architecture.widths, strict=True))
        return steps_per_block(architecture.parameters) * laid_out * self._item


def _copies(optimizer: Optimizer) -> int:
    """Tensors of the parameters' size: themselves, the gradient, and the optimizer's."""
    return 2 + optimizer.slots


def _statistics(shaper: Shaper, batch: int, steps: int) -> int:
    """Bytes of what is learned from norms, in float64."""
    if not shaper.adaptive:
        return 0
    medians = sum(noise.keeps_norms for noise in shaper.adaptive_noises)
    # All norms of an epoch, joined, and a copy to search.
    return 8 * batch * (6 + 4 * steps * medians)
