"""The family of plain ReLU networks: all linear layers with a bias, and nothing but ReLUs between them."""

import math
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence

import torch
from torch import Tensor, nn

from gradshape._threads import even_share
from gradshape.data import Dataset
from gradshape.training._architecture import Architecture, architecture_of
from gradshape.training._dense.layout import Halved
from gradshape.training._dense.stack import DenseBatch, DenseStack
from gradshape.training._memory import LargestStep, evaluation_elements, parameter_copies, per_victim
from gradshape.training._noise import steps_per_block
from gradshape.training._prepared_rows import row_matrices, row_table
from gradshape.training._rows.device_rows import ids_on
from gradshape.training._rows.matrix import RowMatrix, columns_of
from gradshape.training._rows.order import CommonRows, OwnRows
from gradshape.training._sharing import chunks, rows_of, schedule
from gradshape.training._stacked.stack import StackOnBatch, TrainingStack, noisy_first, watched_rows
from gradshape.training._stacked.stepper import StackStepper
from gradshape.training.family import Needs
from gradshape.training.network_family import Stepper
from gradshape.training.optimizers import Optimizer
from gradshape.training.recipe import Recipe
from gradshape.training.victim import Victim
from gradshape.training.workload import Workload

# Most bytes of the parameters of victims that are trained together on a CPU: so many stay in its cache from one step to
# the next, and more would come from memory at every step. Together with gradients and moments, which a step passes over
# once, they may be twice as large.
_IN_CACHE = 5 << 20


class DenseFamily:
    """See :class:`gradshape.training.family.Family`."""

    def takes(self, dataset: Dataset, victim: Victim, device: torch.device) -> bool:
        """Return True for victims without a probe."""
        if victim.probe is not None or victim.fitted:
            return False
        rows = min(victim.descent.batch_size, rows_of(dataset, victim))
        return self.suits(architecture_of(dataset, victim), victim.descent, rows, device)

    def suits(self, architecture: Architecture, recipe: Recipe, rows: int, device: torch.device) -> bool:
        """Return True for plain ReLU networks with cross-entropy."""
        return architecture.widths is not None and recipe.loss is None

    def shares(self, dataset: Dataset, victim: Victim) -> Hashable | None:
        """Return the schedule, and whether two classes are trained as one difference, see :class:`Halved`.

        So a victim's numbers do not depend on who is trained beside it.
        """
        recipe, widths = victim.descent, architecture_of(dataset, victim).widths
        assert widths is not None
        return Halved.fits(widths, recipe.optimizer, [recipe.shaper]), schedule(dataset, victim)

    def needs(self, work: Workload, group: Sequence[Victim]) -> Needs:
        dataset, recipe, item = work.dataset, group[0].descent, work.dtype.itemsize
        architecture = architecture_of(dataset, group[0])
        widths, rows, test = architecture.widths, len(row_table(work)), len(dataset.test)
        assert widths is not None
        inputs = math.prod(dataset.input_shape)
        columns = columns_of(inputs) + 2
        joined = rows * (4 * inputs + 8) if rows > len(dataset.train) else 0
        tables = (rows + test) * (item * columns + 8)
        batch = 2 * recipe.batch_size * columns * item
        # This is for the rows that are evaluated at a time: inputs and outputs of every layer, and the predictions.
        most = min(evaluation_elements(work.device), test * len(group) * max(widths))
        evaluation = most * item * (2 * sum(widths) / max(widths) + 1)
        in_columns = [columns_of(inputs), *(width + 1 for width in widths[:-1])]
        laid_out = sum(n * outputs for n, outputs in zip(in_columns, widths, strict=True))
        largest = LargestStep.of(dataset, group)
        return Needs(
            int(joined + tables + batch + evaluation),
            per_victim(
                work,
                group,
                largest,
                parameters=architecture.parameters,
                step_elements=_step_elements(dataset, widths, largest),
                noise_elements=steps_per_block(architecture.parameters) * laid_out,
            ),
            most_in_cache(architecture.parameters * item, recipe.optimizer, work.device),
        )

    def stack(self, work: Workload, members: Sequence[int]) -> TrainingStack[DenseBatch]:
        order = noisy_first([work.victims[index] for index in members])
        members = [members[place] for place in order]
        victims = [work.victims[index] for index in members]
        networks = DenseStack.of(victims, work.initial_model, device=work.device, dtype=work.dtype)
        feed = _DenseFeed(work, members, networks.num_models)
        stepper = StackStepper(victims, networks, rows_per_step=feed.rows_per_step, gather=feed.gather)
        watch = watched_rows(victims, row_matrices(work)[0].x[:1].expand(networks.num_models, -1))
        if watch is not None:
            inputs = math.prod(work.dataset.input_shape)
            watch[:, :, inputs] = 1
            for place, victim in enumerate(victims):
                if victim.watch is not None and len(victim.watch):
                    watch[place, : len(victim.watch), :inputs] = victim.watch.flatten(1)
        return TrainingStack(order, stepper, feed, watch, keep_states=work.keep_states)

    def steppers(
        self, victims: Sequence[Victim], initial: Callable[[Victim], nn.Module], x: Tensor, y: Tensor
    ) -> list[Stepper]:
        model, recipe = initial(victims[0]), victims[0].descent
        parameters, dtype = list(model.parameters()), next(model.parameters()).dtype
        batch = DenseBatch(RowMatrix.of(x, y, dtype=dtype, device=x.device))
        most = most_in_cache(sum(p.nbytes for p in parameters), recipe.optimizer, x.device)

        def on_batch(some: Sequence[Victim]) -> Stepper:
            order = noisy_first(some)
            own = [some[place] for place in order]
            networks = DenseStack.of(own, initial, device=x.device, dtype=dtype)
            return StackOnBatch(order, StackStepper(own, networks, rows_per_step=len(x), gather=lambda: batch))

        return [on_batch(some) for some in chunks(victims, most)]


class _DenseFeed:
    """See :class:`gradshape.training._stacked.stack.Feed`. Batches are gathered from ids of rows and of victims."""

    def __init__(self, work: Workload, members: Sequence[int], num_models: int) -> None:
        self._rows, self._test = row_matrices(work)
        self._order: CommonRows | OwnRows = row_table(work).common_order(members)
        self.rows_per_step = self._order.rows_per_step
        # The place of the victim whose rows each model takes, the first for padding; ``None`` if each takes its own.
        places = [*range(len(members)), *[0] * (num_models - len(members))]
        padded = num_models > len(members)
        self._rows_of: Tensor | None = torch.tensor(places, device=work.device) if padded else None

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor | None, ...]]:
        for batch in ids_on(self._rows.x.device, self._order.epoch(epoch)):
            yield batch.shared, batch.private, batch.member

    def gather(self, shared: Tensor, private: Tensor | None, member: Tensor | None) -> DenseBatch:
        """Gather the rows with these ids."""
        own = None if private is None else self._rows[self._by_model(private)]
        inside = None if member is None else self._by_model(member).to(self._rows.x)
        return DenseBatch(self._rows[shared], own, inside)

    def _by_model(self, by_victim: Tensor) -> Tensor:
        return by_victim if self._rows_of is None else by_victim[self._rows_of]

    def test(self, rows: int) -> Iterator[tuple[Tensor, Tensor]]:
        labels = self._test.label.long()
        return zip(self._test.x.split(rows), labels.split(rows), strict=True)

    def keep(self, places: Tensor) -> None:
        self._rows_of = places if self._rows_of is None else self._rows_of[places]


def most_in_cache(parameters: int, optimizer: Optimizer, device: torch.device) -> int:
    """Return how many victims with so many bytes of parameters are trained together; any number on GPUs."""
    if device.type != "cpu":
        return sys.maxsize
    # Plain gradient descent adds to the parameters directly and holds no gradient.
    room = 2 * _IN_CACHE // parameter_copies(optimizer) if optimizer.slots else _IN_CACHE
    return even_share(room // parameters)


def _step_elements(dataset: Dataset, widths: Sequence[int], largest: LargestStep) -> int:
    """Return the number of elements that a victim's step needs."""
    inputs = math.prod(dataset.input_shape)
    # The batches of victims with private rows of their own are windows up to so many rows apart, with as many places
    # for private rows.
    places = min(largest.private, largest.batch)
    rows = min(largest.batch + largest.private, len(dataset.train)) + places
    # These are inputs and outputs of layers, gradients of both, errors, squares of the widest layer, labels and places.
    elements = rows * (3 * sum(widths) + max(widths) + 1 + 6)
    if largest.private:
        # These are the private rows, the first layer's outputs for all rows, and their gradients.
        elements += rows * widths[0] + places * (columns_of(inputs) + 2 + 2 * widths[0])
    if any(shaper.needs_norms for shaper in largest.shapers):
        elements += 8 * rows * (len(widths) if any(shaper.per_layer for shaper in largest.shapers) else 1)
    return elements + largest.watched * (2 * (inputs + 1) + 2 * sum(widths))
