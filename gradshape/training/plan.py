"""Which victims are trained together."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from gradshape import _digest
from gradshape.data import Dataset
from gradshape.training.architecture import Architecture, architecture
from gradshape.training.layout import Halved
from gradshape.training.order import CommonRows, OwnRows, PoissonRows, steps_per_epoch
from gradshape.training.recipe import Fit, Sampling
from gradshape.training.victim import Victim

_Member = TypeVar("_Member")

# Elements of the layers' outputs in one victim's step up to which a processor trains many victims faster together than
# one after the other: larger ones keep it busy by themselves. Measured: pictures of 8 x 8 in batches of 20 and 50 gain
# a factor of 1.5 to 2, those of 28 x 28 in batches of 100 nothing.
_SMALL_STEP = 2**18


@dataclass(frozen=True, eq=False)
class Stack:
    """Victims that take their steps together.

    Attributes:
        members: their places in the caller's list.
        dense: whether they are plain ReLU networks.
    """

    members: tuple[int, ...]
    dense: bool


@dataclass(frozen=True, eq=False)
class Table:
    """The rows that some victims train on: the train split, then each distinct set of private rows once.

    Attributes:
        x, y: ``(N, *shape)`` and ``(N,)``.
        private: for each victim the ids of its private rows.
    """

    x: Tensor
    y: Tensor
    private: tuple[Tensor, ...]

    @classmethod
    def of(cls, dataset: Dataset, victims: Sequence[Victim]) -> "Table":
        """The rows that ``victims`` train on."""
        train = dataset.train
        x, y = [train.x], [train.y]
        ids: dict[str, Tensor] = {}
        private_ids = []
        rows = len(train)
        for victim in victims:
            private = victim.private
            if private is None or len(private) == 0:
                private_ids.append(torch.empty(0, dtype=torch.int64))
                continue
            if private.fingerprint not in ids:
                ids[private.fingerprint] = torch.arange(rows, rows + len(private))
                rows += len(private)
                x.append(private.x)
                y.append(private.y)
            private_ids.append(ids[private.fingerprint])
        joined = (torch.cat(x), torch.cat(y)) if len(x) > 1 else (train.x, train.y)
        return cls(*joined, tuple(private_ids))


def stack_key(dataset: Dataset, victim: Victim, *, device: str | torch.device = "cpu") -> Hashable | None:
    """What victims have to share to be trained in one stack; ``None`` if this one is trained alone.

    They share architecture, optimizer and how many steps it remembers, batch size, epochs, sampling, when they are
    scored, shuffle, train rows and private rows. Victims that ask for a common shuffle (``order_seed``) may have
    different private rows, if each has few.

    Plain ReLU networks are always stacked. Other models are if they draw no random numbers and all their layers have
    rules for per-sample gradients; on CPUs only where those are needed and a step is small. A victim with a probe is
    trained alone. Where two classes are trained as one difference (:class:`gradshape.training.layout.Halved`), victims
    that cannot be have stacks of their own, so that a victim's numbers do not depend on who is trained beside it.
    """
    recipe = victim.recipe
    if victim.probe is not None or isinstance(recipe, Fit):
        return None
    of_victim = architecture_of(dataset, victim)
    if not _stacks(of_victim, dataset, victim, torch.device(device)):
        return None
    halved = of_victim.widths is not None and Halved.fits(of_victim.widths, recipe.optimizer, [recipe.shaper])
    before = victim.initial_optimizer
    remembers = victim.keep_optimizer, None if before is None else (before.steps, len(before.slots))
    removed = "" if victim.removed is None or not len(victim.removed) else _digest.of(victim.removed.sort().values)
    schedule = (
        *(recipe.model, recipe.optimizer, recipe.batch_size, recipe.epochs, recipe.sampling),
        *(halved, remembers, victim.scoring),
    )
    order = (victim.order_seed, victim.shuffle_seed, removed)
    rows = _rows(dataset, victim)
    # Windows of victims with n private rows are up to n rows apart: beyond a batch, sharing costs more than it saves.
    windows = recipe.sampling is Sampling.SHUFFLE and victim.order_seed is not None
    if windows and victim.num_private <= recipe.batch_size:
        return schedule, order, steps_per_epoch(rows, recipe.batch_size), min(recipe.batch_size, rows)
    return schedule, order, _own_rows(victim)


def architecture_of(dataset: Dataset, victim: Victim) -> Architecture:
    """What is known of the victim's model."""
    return architecture(victim.descent.model, dataset.input_shape, dataset.num_classes)


def _stacks(of_victim: Architecture, dataset: Dataset, victim: Victim, device: torch.device) -> bool:
    """Whether the victim is trained in a stack, if only of one: that depends on nothing else than itself."""
    if of_victim.widths is not None or not of_victim.stacks:
        return of_victim.stacks
    if device.type != "cpu":
        return True
    # Stacks take gradients sample by sample, which costs about what is gained where single samples are not needed.
    rows = min(victim.descent.batch_size, _rows(dataset, victim))
    return victim.descent.shaper.needs_norms and rows * of_victim.outputs <= _SMALL_STEP


def _rows(dataset: Dataset, victim: Victim) -> int:
    return len(dataset.train) - (0 if victim.removed is None else len(victim.removed)) + victim.num_private


def plan(
    dataset: Dataset,
    victims: Sequence[Victim],
    keys: Sequence[Hashable | None],
    *,
    most: Callable[[Sequence[Victim]], int],
) -> list[Stack]:
    """Divide the victims whose key is not ``None`` into stacks; ``most`` says how many of some victims share one."""
    groups: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        if key is not None:
            groups.setdefault(key, []).append(index)
    stacks = []
    for group in groups.values():
        for members in chunks(group, most([victims[index] for index in group])):
            # Noisy victims stand together, so that their noise is added in one pass.
            noisy_first = sorted(members, key=lambda index: not victims[index].descent.shaper.noisy)
            dense = architecture_of(dataset, victims[group[0]]).widths is not None
            stacks.append(Stack(tuple(noisy_first), dense))
    return stacks


def kept_rows(dataset: Dataset, victim: Victim) -> Tensor:
    """Ids of the train rows that the victim trains on."""
    mask = torch.ones(len(dataset.train), dtype=torch.bool)
    if victim.removed is not None:
        mask[victim.removed] = False
    return mask.nonzero().squeeze(1)


def row_order(
    dataset: Dataset, victims: Sequence[Victim], members: Sequence[int], table: Table
) -> CommonRows | OwnRows:
    """The order in which victims of one stack of dense networks see their rows."""
    first = victims[members[0]]
    if len({_own_rows(victims[index]) for index in members}) == 1:
        return own_order(dataset, victims, members[0], table)
    private_ids = [table.private[index] for index in members]
    seeds = [victims[index].seed for index in members]
    kept, train_rows = kept_rows(dataset, first), len(dataset.train)
    return OwnRows(kept, private_ids, seeds, train_rows, first.shuffle_seed, first.descent.batch_size)


def own_order(dataset: Dataset, victims: Sequence[Victim], index: int, table: Table) -> CommonRows:
    """The order in which one victim sees its rows."""
    victim = victims[index]
    kind = PoissonRows if victim.descent.sampling is Sampling.POISSON else CommonRows
    kept, private, batch_size = kept_rows(dataset, victim), table.private[index], victim.descent.batch_size
    return kind(kept, private, len(dataset.train), victim.shuffle_seed, victim.seed, batch_size)


def own_orders(dataset: Dataset, victims: Sequence[Victim], members: Sequence[int], table: Table) -> list[CommonRows]:
    """The order of each of the members of one stack; those with the same rows have the same one."""
    orders: dict[tuple[str, int], CommonRows] = {}
    for index in members:
        own = _own_rows(victims[index])
        if own not in orders:
            orders[own] = own_order(dataset, victims, index, table)
    return [orders[_own_rows(victims[index])] for index in members]


def _own_rows(victim: Victim) -> tuple[str, int]:
    if victim.private is None or len(victim.private) == 0:
        return "", 0
    return victim.private.fingerprint, victim.seed


def chunks(members: Sequence[_Member], most: int) -> list[Sequence[_Member]]:
    """As few parts of at most ``most`` as there can be, of about the same size."""
    count = -(-len(members) // most)
    size = -(-len(members) // count)
    return [members[start : start + size] for start in range(0, len(members), size)]
