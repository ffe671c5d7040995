"""How much of the training rows a defence takes for poison."""

from dataclasses import replace
from typing import Any

from gradshape import _validate
from gradshape.defenses.base import Suspect


def set_assumed_fraction(defense: Any, fraction: float | None) -> None:
    """Check ``fraction``; where it is given, ``defense`` is not told the budget, and its assumptions say so.

    To be called when a frozen defence is made, whose class assumes that it knows the budget.

    Raises:
        ValueError: ``fraction`` is negative or not finite.
    """
    if fraction is not None:
        _validate.finite_non_negative(fraction=fraction)
        object.__setattr__(defense, "assumptions", replace(defense.assumptions, knows_budget=False))


def poison_rows(train: Suspect, fraction: float | None) -> int:
    """Number of poison rows among ``train``, at most all but one.

    Args:
        train: clean rows and poison.
        fraction: poison rows relative to *clean* rows; ``None`` to be told their number.

    >>> import torch
    >>> from gradshape.defenses import NoDefense
    >>> rows = Suspect(torch.zeros(120, 1), torch.zeros(120), num_classes=0, assumptions=NoDefense.assumptions)
    >>> poison_rows(rows, 0.2)
    20
    """
    count = train.budget if fraction is None else len(train) - round(len(train) / (1 + fraction))
    return min(count, len(train) - 1)


def assumed_label(name: str, fraction: float | None) -> str:
    """``name`` if it is told the number of poison rows, ``name_20`` if it takes 20 % of the clean rows for that."""
    return name if fraction is None else f"{name}_{100 * fraction:g}"
