"""How much memory stacks take, from above: what the families have in common."""

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

# Elements of the largest activation while test rows are evaluated: bounds memory, and stays in the cache.
_EVALUATION_ELEMENTS = 1 << 21
# A generator, a result, and the small tensors around them.
_OBJECTS = 1 << 15
# Tensors of the modules' outputs' size that a step holds at once: outputs, their gradients, and what layers make of
# them without being seen, such as attention. Convolutional networks take about half of it.
OUTPUT_COPIES = 3
# Entries of gradients of single samples that are formed at a time, in all: the limit of the clipping.
FORMED = 1 << 26


def evaluation_elements(device: torch.device) -> int:
    """Elements of the activations while models are evaluated: many on devices that need much work at once."""
    return _EVALUATION_ELEMENTS if device.type == "cpu" else 32 * _EVALUATION_ELEMENTS


def parameter_copies(optimizer: Optimizer) -> int:
    """Tensors of the parameters' size: themselves, the gradient, and the optimizer's."""
    return 2 + optimizer.slots


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
    left = max_memory - parameters * (parameter_copies(optimizer) + 3) * item
    per_row = OUTPUT_COPIES * sizes.activations * item
    if not shaped:
        return max(1, left // max(1, per_row))
    whole = left // max(1, per_row + sizes.gradient * item)
    # Formed gradients are held up to a limit.
    bounded = (left - FORMED * item) // max(1, per_row)
    return max(1, whole, bounded)


@dataclass(frozen=True)
class LargestStep:
    """The numbers that bound a step of any victim of a group.

    Attributes:
        batch: rows.
        private: private rows that the victims do not share.
        watched: rows that one victim watches.
        steps: steps an epoch.
        shapers: the distinct ones.
    """

    batch: int
    private: int
    watched: int
    steps: int
    shapers: Sequence[Shaper]

    @classmethod
    def of(cls, dataset: Dataset, group: Sequence[Victim]) -> "LargestStep":
        """That of ``group``, whose recipes are the same but for the shaper."""
        recipe = group[0].descent
        private = max(victim.num_private for victim in group)
        batch = min(recipe.batch_size, len(dataset.train) + private)
        if recipe.sampling is Sampling.POISSON:  # More than this are as good as never drawn.
            batch += int(8 * batch**0.5)
        return cls(
            batch,
            private if any(victim.order_seed is not None for victim in group) else 0,
            max(0 if victim.watch is None else len(victim.watch) for victim in group),
            steps_per_epoch(len(dataset.train) + private, recipe.batch_size),
            list(dict.fromkeys(victim.descent.shaper for victim in group)),
        )


def per_victim(
    work: Workload, group: Sequence[Victim], largest: LargestStep, *, parameters: int, of_step: int, of_noise: int
) -> int:
    """Bytes that each victim of a stack out of ``group`` takes, its orders of rows excluded.

    Args:
        largest: that of the group.
        parameters: number of parameters.
        of_step: elements that a step takes beside parameters, gradient and moments.
        of_noise: elements of the noise that is drawn at a time.
    """
    recipe = group[0].descent
    # Of the optimizer's memory: the best epoch's, and the results' two.
    moments = 3 * recipe.optimizer.slots if any(victim.keep_optimizer for victim in group) else 0
    kept = 3 + moments if work.keep_states else 0
    elements = parameters * (parameter_copies(recipe.optimizer) + kept)
    # The record of a step has memory of its own.
    elements += of_step if work.device.type == "cpu" else 2 * of_step
    if any(shaper.noisy for shaper in largest.shapers):
        # Once more where victims leave the stack.
        leave = any(victim.intended is not None for victim in group)
        elements += (1 + leave) * of_noise
    # Ids, places and masks of rows; predictions.
    rows = 6 * largest.private + 4 * largest.steps + 2 * recipe.epochs * largest.watched
    whole = elements * work.dtype.itemsize + 8 * rows + 24 * (largest.batch + 2 * largest.private)
    return whole + max(_statistics(shaper, largest) for shaper in largest.shapers) + _OBJECTS


def _statistics(shaper: Shaper, largest: LargestStep) -> int:
    """Bytes of what is learned from norms, in float64."""
    if not shaper.adaptive:
        return 0
    medians = sum(noise.keeps_norms for noise in shaper.adaptive_noises)
    # All norms of an epoch, joined, and a copy to search.
    return 8 * largest.batch * (6 + 4 * largest.steps * medians)
