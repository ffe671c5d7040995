"""The family of networks that draw no random numbers and whose layers all have rules for per-sample gradients."""

import math
from collections.abc import Callable, Hashable, Iterator, Sequence

import torch
from torch import Tensor, nn

from gradshape.data import Dataset
from gradshape.training._architecture import Architecture, architecture_of
from gradshape.training._memory import FORMED, OUTPUT_COPIES, LargestStep, evaluation_elements, per_victim
from gradshape.training._noise import steps_per_block
from gradshape.training._prepared_rows import row_batches, row_table
from gradshape.training._rows.device_rows import epoch_ids
from gradshape.training._sharing import rows_of, schedule
from gradshape.training._stacked.stack import StackOnBatch, TrainingStack, noisy_first, watched_rows
from gradshape.training._stacked.stepper import StackStepper
from gradshape.training._vmapped.stack import ModuleBatch, ModuleStack
from gradshape.training.family import Needs
from gradshape.training.network_family import Stepper
from gradshape.training.recipe import Recipe
from gradshape.training.victim import Victim
from gradshape.training.workload import Workload

# Most elements of the layers' outputs in one victim's step for which a processor trains many victims faster together
# than one after the other: larger steps keep it busy by themselves. In measurements, pictures of 8 x 8 in batches of 20
# and 50 gained a factor of 1.5 to 2, and pictures of 28 x 28 in batches of 100 nothing.
_SMALL_STEP = 2**18


class VmappedFamily:
    """See :class:`gradshape.training.family.Family`."""

    def takes(self, dataset: Dataset, victim: Victim, device: torch.device) -> bool:
        """Return True for victims without a probe, see :meth:`suits`."""
        if victim.probe is not None or victim.fitted:
            return False
        rows = min(victim.descent.batch_size, rows_of(dataset, victim))
        return self.suits(architecture_of(dataset, victim), victim.descent, rows, device)

    def suits(self, architecture: Architecture, recipe: Recipe, rows: int, device: torch.device) -> bool:
        """Return True for networks that stack, with cross-entropy; on CPUs only where a stack is faster.

        There, per-sample gradients have to be needed, as stacks take gradients sample by sample, which costs about what
        is gained; and a step has to be small.
        """
        pays = device.type != "cpu" or (recipe.shaper.needs_norms and rows * architecture.outputs <= _SMALL_STEP)
        return architecture.stacks and recipe.loss is None and pays

    def shares(self, dataset: Dataset, victim: Victim) -> Hashable | None:
        """Return the schedule."""
        return schedule(dataset, victim)

    def needs(self, work: Workload, group: Sequence[Victim]) -> Needs:
        dataset, architecture, item = work.dataset, architecture_of(work.dataset, group[0]), work.dtype.itemsize
        inputs, rows = math.prod(dataset.input_shape), len(row_table(work))
        table = rows * (4 * inputs + 8)
        joined = table if rows > len(dataset.train) else 0
        on_device = 0 if work.device.type == "cpu" else table
        largest, sizes, parameters = LargestStep.of(dataset, group), architecture.sizes, architecture.parameters
        # These are the rows, the outputs of the modules, formed gradients, and the sum that becomes the gradient.
        formed = min(largest.batch * sizes.gradient, FORMED)
        made = largest.batch * (2 * inputs + OUTPUT_COPIES * sizes.activations)
        noise = steps_per_block(parameters) * parameters
        step = made + formed + parameters + largest.watched * 2 * inputs
        each = per_victim(work, group, largest, parameters=parameters, step_elements=step, noise_elements=noise)
        if largest.private:
            # These are every victim's own order, its keys, and the copy that the steps are parts of.
            each += 8 * 4 * (len(dataset.train) + max(victim.num_private for victim in group))
        return Needs(joined + on_device + OUTPUT_COPIES * evaluation_elements(work.device) * item, each)

    def stack(self, work: Workload, members: Sequence[int]) -> TrainingStack[ModuleBatch]:
        order = noisy_first([work.victims[index] for index in members])
        members = [members[place] for place in order]
        victims, rows = [work.victims[index] for index in members], row_batches(work)[0]
        x, _ = rows[torch.tensor([0, len(rows) - 1], device=rows.home)]
        networks = ModuleStack(victims, work.initial_model, x, dtype=work.dtype)
        feed = _ModuleFeed(work, members)
        stepper = StackStepper(victims, networks, rows_per_step=feed.rows_per_step, gather=feed.gather)
        watch = watched_rows(victims, x[:1].expand(len(victims), *x.shape[1:]))
        if watch is not None:
            for place, victim in enumerate(victims):
                if victim.watch is not None:
                    watch[place, : len(victim.watch)] = victim.watch
        return TrainingStack(order, stepper, feed, watch, keep_states=work.keep_states)

    def steppers(
        self, victims: Sequence[Victim], initial: Callable[[Victim], nn.Module], x: Tensor, y: Tensor
    ) -> list[Stepper]:
        order = noisy_first(victims)
        own = [victims[place] for place in order]
        networks = ModuleStack(own, initial, x[:2], dtype=next(initial(own[0]).parameters()).dtype)
        batch = ModuleBatch(*(part.expand(len(own), *part.shape) for part in (x, y)))
        return [StackOnBatch(order, StackStepper(own, networks, rows_per_step=len(x), gather=lambda: batch))]


class _ModuleFeed:
    """See :class:`gradshape.training._stacked.stack.Feed`; a batch is gathered from that of each order."""

    def __init__(self, work: Workload, members: Sequence[int]) -> None:
        self._rows, self._test = row_batches(work)
        orders = row_table(work).orders(members)
        self.rows_per_step = orders[0].rows_per_step
        self._orders = list(dict.fromkeys(orders))
        self._order_of = torch.tensor([self._orders.index(order) for order in orders], device=work.device)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor | None, ...]]:
        for ids in epoch_ids(self._orders, epoch, self._rows.home):
            yield self._rows[ids]

    def gather(self, x: Tensor, y: Tensor) -> ModuleBatch:
        """Give each model the batch of its order, out of ``x (orders, B, ...)`` and ``y (orders, B)``."""
        return ModuleBatch(self._by_model(x), self._by_model(y))

    def _by_model(self, by_order: Tensor) -> Tensor:
        if len(by_order) == 1:
            return by_order.expand(len(self._order_of), *by_order.shape[1:])
        return by_order[self._order_of]

    def test(self, rows: int) -> Iterator[tuple[Tensor, Tensor]]:
        return self._test.split(rows)

    def keep(self, places: Tensor) -> None:
        self._order_of = self._order_of[places]
