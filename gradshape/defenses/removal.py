"""Leave out a share of the rows of every class: those that score highest."""

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.data import Dataset


def keep_lowest(scores: Tensor, y: Tensor, *, removed: float) -> Tensor:
    """Keep, of the ``m`` rows of every class, the ``round((1 - removed) m)`` with the lowest scores.

    Halves are rounded to even, as ``round`` does. Among equal scores the rows that come first are kept. A class of
    which that leaves nothing is left out as a whole.

    Args:
        scores: ``(N,)``, none of them NaN.
        y: ``(N,)`` int64 classes.
        removed: share of each class to leave out, in [0, 1].

    Returns:
        ``(N,)`` bool, true for the rows that are kept.

    Raises:
        ValueError: ``removed`` is out of range, or a score is NaN.

    Koh, Steinhardt and Liang 2018, section 3.

    >>> keep_lowest(torch.tensor([3.0, 1.0, 2.0, 9.0]), torch.tensor([0, 0, 0, 1]), removed=0.4).tolist()
    [False, True, True, True]
    """
    _validate.fraction(removed=removed)
    if bool(scores.isnan().any()):
        raise ValueError(f"scores: {int(scores.isnan().sum())} of {len(scores)} are NaN: expected numbers")
    keep = torch.zeros(len(y), dtype=torch.bool)
    for label in y.unique().tolist():
        members = (y == label).nonzero().squeeze(1)
        lowest = scores[members].argsort(stable=True)[: round((1 - removed) * len(members))]
        keep[members[lowest]] = True
    return keep


def check_removed(removed: float) -> None:
    """Raise ``ValueError`` unless some rows of a class can be left out and some kept."""
    if not 0 < removed < 1:
        raise ValueError(f"removed={removed!r}: expected a number above 0 and below 1")


def removal_label(name: str, removed: float, **settings: tuple[float, float]) -> str:
    """``name_5`` for 5 %, and every setting ``(value, default)`` that is not its default: ``name_5_k3``."""
    changed = "".join(f"_{key}{value:g}" for key, (value, default) in settings.items() if value != default)
    return f"{name}_{100 * removed:g}{changed}"


def no_classes(dataset: Dataset) -> str | None:
    """Why rows cannot be told apart by class; ``None`` if they can."""
    return "it goes by class, and this is a regression task" if dataset.regression else None
