"""The range of a user's own values, and the map between it and [0, 1], where attacks have their budgets and boxes."""

import math
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

# Values of users' own data may lie so far outside their range, in parts of its width: a rounding of float32, several
# times over.
_SLACK = 1e-5
# Whole numbers that lie at most so far apart, and so far from 0, come back from float32 in [0, 1] as they were; of a
# wider range some do not.
_MOST_WIDE, _MOST_WHOLE = 2**23, 2**24


@dataclass(frozen=True)
class Units:
    """The range that values have where their owner works with them; a data set's rows are mapped from it to [0, 1].

    Budgets, boxes and triggers of attacks are about [0, 1]. Networks, estimators and training functions of the user's
    own are given the values in the user's units; those of the library train on [0, 1].

    Attributes:
        low, high: the ends of the range, one number each, or one for each feature or channel, in the order of
            ``shape``.
        shape: the shape in which ``low`` and ``high`` broadcast to a row: ``()``, ``(D,)`` or ``(C, 1, 1)``, say.
        whole: whether values are whole numbers, such as token ids: they are rounded on their way back, and come back as
            they were.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    _: KW_ONLY
    shape: tuple[int, ...] = ()
    whole: bool = False

    @classmethod
    def of(cls, low: ArrayLike, high: ArrayLike, *, row: tuple[int, ...], whole: bool = False) -> "Units":
        """Return the units of a declared range.

        Args:
            low, high: one number each; or a list of them, one for each channel of pictures ``(C, H, W)``, and one for
                each feature, the last axis, of any other rows; or arrays of two axes or more that broadcast to a row as
                NumPy's do, such as ``(1, 1, W)``.
            row: shape of one row.
            whole: see :class:`Units`.

        Raises:
            ValueError: an end is not finite, the range is empty, or its shape does not fit the row; or, of whole
                numbers, an end is none, lies beyond 2**24, or the ends lie more than 2**23 apart.

        >>> Units.of(-1, 1, row=(3, 8, 8)).shape, Units.of([0, 0, 0], [1, 2, 3], row=(3, 8, 8)).shape
        ((), (3, 1, 1))
        >>> Units.of([0, 0, 0], [1, 2, 3], row=(5, 3)).shape
        (3,)
        """
        ends = [np.asarray(end, dtype=np.float64) for end in (low, high)]
        try:
            least, most = np.broadcast_arrays(*ends)
        except ValueError as error:
            raise ValueError(f"value_range has shapes {ends[0].shape} and {ends[1].shape}: expected one") from error
        picture, given = len(row) == 3, least.shape
        if picture and least.ndim == 1:
            least, most = least.reshape(-1, 1, 1), most.reshape(-1, 1, 1)
        if not _fits(least.shape, row):
            each = f"each channel, ({row[0]},)" if picture else f"each feature, ({row[-1]},)"
            raise ValueError(
                f"value_range has shape {given}: expected one number, one for {each}, or a shape that broadcasts to a "
                f"row {row}, such as {(*row[:1], *(1 for _ in row[1:]))}"
            )
        bad = ~(np.isfinite(least) & np.isfinite(most) & (least < most))
        if bad.any():
            place = np.unravel_index(bad.argmax(), bad.shape)
            shown = f"({least[place]:g}, {most[place]:g}){f' at {place}' if place else ''}"
            raise ValueError(f"value_range={shown}: expected two finite numbers, the lower one first")
        if whole:
            _check_whole(least, most)
        return cls(tuple(least.ravel().tolist()), tuple(most.ravel().tolist()), shape=least.shape, whole=whole)

    def to_unit(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Map values ``(N, *row)`` in the user's units to [0, 1]; those a rounding outside become 0 or 1.

        Raises:
            ValueError: a value is not finite, lies outside the range, or is not whole although all should be.
        """
        least, most = (np.asarray(end).reshape(self.shape) for end in (self.low, self.high))
        if self.whole and not (values == np.rint(values)).all():
            place = np.unravel_index((values != np.rint(values)).argmax(), values.shape)
            raise ValueError(f"value {values[place]!r} in row {place[0]}: expected whole numbers (whole=True)")
        unit = (values - least) / (most - least)
        slack = 0 if self.whole else _SLACK
        good = (unit >= -slack) & (unit <= 1 + slack)  # False where a value is NaN.
        if not good.all():
            place = np.unravel_index(good.argmin(), good.shape)
            low, high = (float(np.broadcast_to(end, values.shape[1:])[place[1:]]) for end in (least, most))
            value = values[place].item()
            shown = f"{value!r}" if math.isfinite(value) else "a value that is not finite"
            raise ValueError(f"{shown} in row {place[0]}: expected values in the declared range, [{low:g}, {high:g}]")
        return np.asarray(np.clip(unit, 0, 1), dtype=np.float32)

    def from_unit(self, x: Tensor) -> Tensor:
        """Map values ``(N, *row)`` in [0, 1] to the user's units; differentiable, unless they are whole numbers."""
        low, width = self._scale
        own = x * width.to(x) + low.to(x)
        return own.round() if self.whole else own

    @cached_property
    def _scale(self) -> tuple[Tensor, Tensor]:
        low, high = (torch.tensor(end, dtype=torch.float64).reshape(self.shape) for end in (self.low, self.high))
        return low, high - low


def normalized(mean: ArrayLike, std: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the range of values that were in [0, 1] before somebody normalised them to ``(x - mean) / std``.

    Args:
        mean, std: one number each, or one for each channel or feature; ``std`` is greater than 0.

    >>> normalized(0.5, 0.5)
    (array(-1.), array(1.))
    """
    middle, spread = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)
    if not (spread > 0).all():
        raise ValueError(f"std={std!r}: expected numbers greater than 0")
    return np.asarray((0 - middle) / spread), np.asarray((1 - middle) / spread)


def _check_whole(least: NDArray[Any], most: NDArray[Any]) -> None:
    bad = (most - least > _MOST_WIDE) | (np.maximum(abs(least), abs(most)) > _MOST_WHOLE)
    bad |= (least != np.rint(least)) | (most != np.rint(most))
    if bad.any():
        low, high = (end[np.unravel_index(bad.argmax(), bad.shape)].item() for end in (least, most))
        raise ValueError(
            f"value_range=({low!r}, {high!r}) with whole=True: expected whole numbers from -2**24 to 2**24, at most "
            "2**23 apart: rows are kept as float32, which does not tell more of them apart"
        )


def _fits(shape: tuple[int, ...], row: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, row) == row
    except ValueError:
        return False
