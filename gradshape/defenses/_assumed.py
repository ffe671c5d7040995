"""The share of the training rows that a defence assumes to be poison."""

from dataclasses import replace
from typing import Any

from gradshape import _validate
from gradshape.defenses.base import Suspect


def set_assumed_fraction(defense: Any, fraction: float | None) -> None:
    """Check ``fraction``, and take the budget from what ``defense`` knows if a fraction is given.

    Call it when a frozen defence is made whose class assumes that it knows the budget.

    Raises:
        ValueError: ``fraction`` is outside [0, 1].
    """
    if fraction is not None:
        _validate.fraction(fraction=fraction)
        object.__setattr__(defense, "assumptions", replace(defense.assumptions, knows_budget=False))


def poison_rows(train: Suspect, fraction: float | None) -> int:
    """Return the number of poison rows among ``train``, at most all but one.

    Args:
        train: clean rows and poison.
        fraction: poison rows relative to *clean* rows; ``None`` if the defence is told their number.

    >>> import torch
    >>> from gradshape.defenses import NoDefense
    >>> rows = Suspect(torch.zeros(120, 1), torch.zeros(120), num_classes=0, assumptions=NoDefense.assumptions)
    >>> poison_rows(rows, 0.2)
    20
    """
    count = train.budget if fraction is None else len(train) - round(len(train) / (1 + fraction))
    return min(count, len(train) - 1)


def assumed_label(name: str, fraction: float | None) -> str:
    """Return ``name`` for a defence that is told the number of poison rows, ``name_20`` if it assumes 20 %."""
    return name if fraction is None else f"{name}_{100 * fraction:g}"
