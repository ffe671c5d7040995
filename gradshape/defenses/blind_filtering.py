"""Filtering by a defence that is not told which rows are poison."""

import time
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from gradshape import _seeds
from gradshape._own_thread import OwnThread
from gradshape.data import GuardedCopies, PoisonedRows, Split, Units, own_copy
from gradshape.defenses.base import Defense, Suspect
from gradshape.training import AnyRecipe, TrainedModel


def rows_to_keep(
    defense: Defense,
    rows: PoisonedRows,
    *,
    num_classes: int,
    seed: int,
    secret: str = "",
    recipe: AnyRecipe | None = None,
    model: TrainedModel | None = None,
    targets: Split | None = None,
    units: Units | None = None,
) -> tuple[Tensor, float]:
    """Ask a defence which rows to keep.

    The defence gets copies of the rows in an order that cannot be told without the poison, and runs in a thread of its
    own, so that none of the stack frames above it holds the poison. What it changes of the state of the process is put
    back. So it can change no other result.

    Args:
        defense: the defence.
        rows: clean rows and poison.
        num_classes: number of classes; 0 for regression.
        seed: of the order and of the defence.
        secret: a text that nobody can tell without the poison, such as its fingerprint; the order depends on it, too.
        recipe, model, targets: how the kept rows will be trained on, the network that training starts from, and the
            targets of the attack; a defence sees of these what its assumptions grant.
        units: those of the rows.

    Returns:
        The mask, ``(N + n,)`` bool by the ids of the rows (true for replaced ones), and the seconds that the defence
        took.

    Raises:
        ValueError: as :meth:`Defense.filter`, or the defence wrote to what it was shown; the message names it.
    """
    copies = GuardedCopies()
    present = rows.present
    order = present[torch.randperm(len(present), generator=_seeds.stream(seed, "filter order", secret))]
    shown = rows.rows(order)
    suspect = Suspect(
        shown.x,
        shown.y,
        num_classes=num_classes,
        assumptions=defense.assumptions,
        recipe=recipe,
        model=None if model is None else replace(model, state=copies.copy_of_state("model", model.state)),
        clean=copies.copy_of_rows("clean", rows.train) if defense.assumptions.knows_clean else None,
        targets=None if targets is None else copies.copy_of_rows("targets", targets),
        budget=0 if rows.poison is None else len(rows.poison),
        poison=rows.is_poison(order),
        units=units,
    )
    began = time.perf_counter()
    mask = OwnThread[None]().run(partial(defense.filter, suspect, generator=_seeds.stream(seed, "filter")))
    seconds = time.perf_counter() - began
    copies.check(repr(defense))
    if not rows.hold(suspect, order):
        raise ValueError(f"{defense!r} wrote to the rows that it was shown: expected it to write to copies of its own")
    keep = torch.ones(len(rows), dtype=torch.bool)
    if mask is not None:
        keep[order] = mask
    return keep, seconds


def trusted_rows(defense: Defense, clean: Split, *, seed: int) -> Tensor | None:
    """Ask a defence which of the clean rows it trusts when :func:`rows_to_keep` asks it with this seed.

    Args:
        defense: the defence.
        clean: ``N`` clean rows.
        seed: of the defence.

    Returns:
        ``(N,)`` bool; ``None`` if it is given no clean rows.

    Raises:
        ValueError: it wrote to the rows, or gave no mask of them.
    """
    if type(defense).trusted is Defense.trusted and "trusted" not in vars(defense):
        # Nobody else's code is asked, so nothing has to be kept from it.
        return torch.ones(len(clean), dtype=torch.bool) if defense.assumptions.knows_clean else None
    copies = GuardedCopies()
    ask = partial(defense.trusted, copies.copy_of_rows("clean", clean), generator=_seeds.stream(seed, "filter"))
    mask = own_copy(OwnThread[None]().run(ask))
    copies.check(repr(defense))
    if mask is not None and (mask.dtype != torch.bool or mask.shape != (len(clean),) or not mask.any()):
        raise ValueError(
            f"{defense!r} trusts {mask.dtype} {tuple(mask.shape)}: expected a bool ({len(clean)},) with at least 1 row"
        )
    return mask
