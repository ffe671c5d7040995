"""What is wrong with values, labels and shapes that somebody else wrote, in words that say where."""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray


def outside(values: NDArray[Any], *, most: float = 1, slack: float = 0) -> str | None:
    """Say which value is the first outside [0, most], by more than ``slack``; ``None`` if there is none.

    >>> outside(np.array([[0.0, 1.0], [0.5, 1 + 1e-15]]))
    'has 1.000000000000001 in row 1, place (1,)'
    """
    good = (values >= -slack) & (values <= most + slack)  # false where a value is NaN
    if good.all():
        return None
    row, *place = map(int, np.unravel_index(good.argmin(), good.shape))
    value = values[(row, *place)].item()
    where = f"row {row}" + (f", place {tuple(place)}" if place else "")
    return f"has {value!r} in {where}" if np.isfinite(value) else f"has a value that is not finite in {where}"


def rounding(dtype: np.dtype[Any]) -> float:
    """Return how far a value of this type, or in float32, may lie from where exact arithmetic would have put it near 1.

    >>> rounding(np.dtype("f8"))
    1.1920928955078125e-07
    """
    return float(max(np.finfo(np.float32).eps, np.finfo(dtype).eps))


def check_name(name: str) -> None:
    """Check that a data set's name can stand in ids.

    Raises:
        ValueError: it has other characters than letters, digits and underscores.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_]+", name):
        raise ValueError(f"name={name!r}: expected letters, digits and underscores only: pass name=...")


def counted_classes(train: NDArray[Any], test: NDArray[Any]) -> int:
    """Return the number of classes of labels that are counted from 0.

    Raises:
        ValueError: a label is negative, there is one class only, or a class below the largest label has no train rows.
    """
    labels: list[int] = np.unique(train).tolist()
    tested: list[int] = np.unique(test).tolist()
    most = max(*labels[-1:], *tested[-1:], 0)
    if min(*labels[:1], *tested[:1], 0) < 0:
        raise ValueError(f"a label is {min(labels[0], tested[0])}: expected class ids counted from 0")
    gap = next((place for place, label in enumerate(labels) if label != place), len(labels))
    if gap <= most:
        few = ", ".join(map(str, labels[:5])) + (", ..." if len(labels) > 5 else "")
        raise ValueError(
            f"class {gap} has no train rows{', but test rows' if gap in tested else ''}, where the train labels are "
            f"{few}, and the largest label is {most}: expected class ids counted from 0, each with train rows "
            "(numpy.unique(y, return_inverse=True)[1] counts any labels like that)"
        )
    if most == 0:
        raise ValueError("all labels are 0: expected at least two classes")
    return most + 1


def channels_last(shape: tuple[int, ...]) -> bool:
    """Return whether rows of this shape look like pictures with their channels last.

    >>> channels_last((8, 8, 3)), channels_last((3, 8, 8)), channels_last((1, 4, 3))
    (True, False, False)
    """
    return len(shape) == 3 and shape[2] in (1, 3, 4) and min(shape[:2]) > 4
