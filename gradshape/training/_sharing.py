"""What victims have in common that take their steps together, whatever their models."""

from collections.abc import Hashable, Sequence
from typing import TypeVar

from gradshape import _digest
from gradshape.data import Dataset
from gradshape.training._rows.table import private_rows
from gradshape.training.recipe import Sampling, steps_per_epoch
from gradshape.training.victim import Victim

_Member = TypeVar("_Member")


def schedule(dataset: Dataset, victim: Victim) -> Hashable:
    """Return what victims have in common that take their steps at the same time, on the same train rows.

    That is architecture, optimizer and how many steps it remembers, batch size, epochs, sampling, when they are scored,
    shuffle, train rows and private rows. Victims that ask for a common shuffle (``order_seed``) may have different
    private rows, if each has few.
    """
    recipe, before = victim.descent, victim.initial_optimizer
    remembers = victim.keep_optimizer, None if before is None else (before.steps, len(before.slots))
    removed = "" if victim.removed is None or not len(victim.removed) else _digest.of(victim.removed.sort().values)
    same = (
        *(recipe.model, recipe.optimizer, recipe.batch_size, recipe.epochs, recipe.sampling),
        *(remembers, victim.scoring, victim.order_seed, victim.shuffle_seed, removed),
    )
    rows = rows_of(dataset, victim)
    # The batches of victims with n private rows are windows up to n rows apart. If n exceeds a batch, sharing costs
    # more than it saves.
    windows = recipe.sampling is Sampling.SHUFFLE and victim.order_seed is not None
    if windows and victim.num_private <= recipe.batch_size:
        return same, steps_per_epoch(rows, recipe.batch_size), min(recipe.batch_size, rows)
    return same, private_rows(victim)


def rows_of(dataset: Dataset, victim: Victim) -> int:
    """Return the number of rows that the victim trains on."""
    return len(dataset.train) - (0 if victim.removed is None else len(victim.removed)) + victim.num_private


def chunks(members: Sequence[_Member], most: int) -> list[Sequence[_Member]]:
    """Divide ``members`` into as few parts of at most ``most`` as there can be, of about the same size."""
    count = -(-len(members) // most)
    size = -(-len(members) // count)
    return [members[start : start + size] for start in range(0, len(members), size)]
