"""Upper bounds on the memory of stacks, as far as the families have them in common."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gradshape.data import Dataset
from gradshape.shaping import Shaper
from gradshape.training._architecture import RowSizes
from gradshape.training.optimizers import Optimizer
from gradshape.training.recipe import Sampling, steps_per_epoch
from gradshape.training.victim import Victim
from gradshape.training.workload import Workload

# Most elements of an activation while test rows are evaluated: few enough to stay in the cache.
_EVALUATION_ELEMENTS = 1 << 21
# Bytes of a generator, a result, and the small tensors around them.
_OBJECTS = 1 << 15
# Copies of the modules' outputs that a step holds at once: the outputs, their gradients, and what layers compute
# inside, such as attention. Convolutional networks take about half of it.
OUTPUT_COPIES = 3
# Most elements of per-sample gradients that the clipping forms at a time.
FORMED = 1 << 26


def evaluation_elements(device: torch.device) -> int:
    """Return the most elements of an activation in an evaluation; more on devices that need much work at once."""
    return _EVALUATION_ELEMENTS if device.type == "cpu" else 32 * _EVALUATION_ELEMENTS


def parameter_copies(optimizer: Optimizer) -> int:
    """Return the number of tensors as large as the parameters: these, the gradient, and the optimizer's moments."""
    return 2 + optimizer.slots


def rows_at_once(
    sizes: RowSizes, parameters: int, optimizer: Optimizer, *, shaped: bool, item: int, max_memory: int
) -> int:
    """Return how many rows a victim's step may take at a time, so that its training stays within ``max_memory``.

    Args:
        sizes: of a pass over one row.
        parameters: number of parameters.
        optimizer: of the training.
        shaped: whether per-sample gradients are taken.
        item: bytes an element.
        max_memory: in bytes; at least one row is taken, even if it needs more.
    """
    # Beside parameters, gradient and moments there are the two states that are kept and one sum of gradients.
    left = max_memory - parameters * (parameter_copies(optimizer) + 3) * item
    per_row = OUTPUT_COPIES * sizes.activations * item
    if not shaped:
        return max(1, left // max(1, per_row))
    whole = left // max(1, per_row + sizes.gradient * item)
    # The clipping forms no more than so many elements at a time.
    bounded = (left - FORMED * item) // max(1, per_row)
    return max(1, whole, bounded)


@dataclass(frozen=True)
class LargestStep:
    """The largest numbers that a step of any victim of a group can have.

    Attributes:
        batch: number of rows in a batch.
        private: number of private rows, which differ from victim to victim; 0 if all victims share them.
        watched: number of rows that one victim watches.
        steps: number of steps an epoch.
        shapers: the distinct shapers.
    """

    batch: int
    private: int
    watched: int
    steps: int
    shapers: Sequence[Shaper]

    @classmethod
    def of(cls, dataset: Dataset, group: Sequence[Victim]) -> "LargestStep":
        """Return the bounds for ``group``, whose recipes differ in the shaper only."""
        recipe = group[0].descent
        private = max(victim.num_private for victim in group)
        batch = min(recipe.batch_size, len(dataset.train) + private)
        if recipe.sampling is Sampling.POISSON:
            # Batches are practically never larger than expected by more than eight standard deviations.
            batch += int(8 * batch**0.5)
        return cls(
            batch,
            private if any(victim.order_seed is not None for victim in group) else 0,
            max(0 if victim.watch is None else len(victim.watch) for victim in group),
            steps_per_epoch(len(dataset.train) + private, recipe.batch_size),
            list(dict.fromkeys(victim.descent.shaper for victim in group)),
        )


def per_victim(
    work: Workload,
    group: Sequence[Victim],
    largest: LargestStep,
    *,
    parameters: int,
    step_elements: int,
    noise_elements: int,
) -> int:
    """Return the bytes that each victim of a stack taken from ``group`` needs, its orders of rows excluded.

    Args:
        work, group: the call, and victims that may share a stack.
        largest: bounds for the group.
        parameters: number of parameters.
        step_elements: elements that a step needs beside parameters, gradient and moments.
        noise_elements: elements of the noise that is drawn at a time.
    """
    recipe = group[0].descent
    # The moments are kept three times: those of the best epoch, and those of the last and the best one in the result.
    moments = 3 * recipe.optimizer.slots if any(victim.keep_optimizer for victim in group) else 0
    kept = 3 + moments if work.keep_states else 0
    elements = parameters * (parameter_copies(recipe.optimizer) + kept)
    # On other devices, a recorded step has memory of its own.
    elements += step_elements if work.device.type == "cpu" else 2 * step_elements
    if any(shaper.noisy for shaper in largest.shapers):
        # Where victims leave the stack, the noise of those that stay is copied.
        leave = any(victim.intended is not None for victim in group)
        elements += (1 + leave) * noise_elements
    # These are ids, places and masks of rows, and predictions.
    rows = 6 * largest.private + 4 * largest.steps + 2 * recipe.epochs * largest.watched
    whole = elements * work.dtype.itemsize + 8 * rows + 24 * (largest.batch + 2 * largest.private)
    return whole + max(_statistics(shaper, largest) for shaper in largest.shapers) + _OBJECTS


def _statistics(shaper: Shaper, largest: LargestStep) -> int:
    """Return the bytes of what an adaptive shaper keeps of the norms, in float64."""
    if not shaper.adaptive:
        return 0
    medians = sum(noise.keeps_norms for noise in shaper.adaptive_noises)
    # For a median, all norms of an epoch are kept, joined, and copied to be sorted.
    return 8 * largest.batch * (6 + 4 * largest.steps * medians)
