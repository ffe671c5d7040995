"""What may come back from an attack's ``craft``, whatever data it was made for: tensors of rows, and plain notes."""

import math
import sys
from collections.abc import Mapping

from torch import Tensor

_OF_ROWS = ("y", "source", "replaced", "target", "base", "distance")


def check_arrays(label: str, crafted: object, expected: type[object]) -> None:
    """Check that an attack crafted what it has to, of tensors with one dimension, or more of ``x``.

    Args:
        label: of the attack.
        crafted: a poison set, or its aims.
        expected: which of these.

    Raises:
        ValueError: it did not.
    """
    if not isinstance(crafted, expected):
        raise ValueError(f"{label} crafted a {type(crafted).__name__}, expected {expected.__name__}(...)")
    for name, array in vars(crafted).items():
        if name == "x" or name in _OF_ROWS:
            if not isinstance(array, Tensor):
                raise ValueError(f"{label} crafted {name} as {type(array).__name__}, expected a tensor")
            if array.dim() == 0 or (name in _OF_ROWS and array.dim() > 1):
                shape = "(n, *shape)" if name == "x" else "(n,)"
                raise ValueError(f"{label} crafted {name} of shape {tuple(array.shape)}, expected {shape}")


def plain_notes(label: str, notes: object) -> dict[str, float]:
    """Return an attack's notes as plain numbers: records and the cache hold no others.

    Raises:
        ValueError: they are no mapping of names to finite numbers.

    >>> import numpy as np
    >>> plain_notes("mine_10", {"bound": np.float32(0.5), "rows": 3})
    {'bound': 0.5, 'rows': 3}
    """
    if not isinstance(notes, Mapping):
        raise ValueError(f"{label} crafted notes {type(notes).__name__}, expected a mapping of names to numbers")
    return {_name(label, name): _number(label, name, value) for name, value in notes.items()}


def _name(label: str, name: object) -> str:
    if not isinstance(name, str):
        raise ValueError(f"{label} crafted a note called {name!r}, expected a text")
    return str(name)


def _number(label: str, name: object, value: object) -> float:
    try:
        number = value if type(value) in (bool, int) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, RuntimeError):
        number = math.nan
    # A whole number beyond that could be read back from no record.
    if not isinstance(number, int | float) or not abs(number) <= sys.float_info.max:
        raise ValueError(f"{label} crafted a note {name}={f'{value!r}'[:100]}, expected a finite number")
    return number
