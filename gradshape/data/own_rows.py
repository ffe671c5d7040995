"""Data sets of rows that the user has in memory: arrays, torch's data sets and loaders, tables."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from gradshape.data._checks import channels_last, check_name, counted_classes, outside
from gradshape.data._given_rows import given_rows, listed
from gradshape.data.base import Dataset, Split
from gradshape.data.units import Units

_FEATURES, _LABELS = "features", "labels"


def from_rows(
    train: Any,
    test: Any,
    *,
    name: str,
    label: str | None = None,
    value_range: tuple[ArrayLike, ArrayLike] | None = None,
    whole: bool = False,
    num_classes: int | None = None,
    regression: bool = False,
    description: str = "",
) -> Dataset:
    """Make a data set of rows in memory, whose order is kept.

    Args:
        train, test: each a pair ``(x, y)`` of arrays, tensors or sequences of them; a mapping of two such arrays; a
            :class:`Split`; a map-style ``torch.utils.data.Dataset`` of pairs; a ``DataLoader`` of one, which is
            read once, with its samplers and its ``collate_fn``; or a table (pandas, Hugging Face ``datasets``, a
            mapping of columns) with ``label``. Columns of the test rows are taken by their names, in the order of the
            train rows. Shuffling and ``drop_last`` of a loader change nothing: rows come in the order of its data set,
            or of the indices of its ``SubsetRandomSampler``. Other samplers that draw do so from a seed of 0, or from
            their own generator, which is put back.
        name: what it is called in ids: letters, digits and underscores.
        label: the column of a table that is to be predicted; all others, which have to be numbers, are features.
        value_range: the lowest and the highest value that a feature can have, as numbers, or as lists of one for each
            channel of pictures ``(C, H, W)`` and for each feature, the last axis, of other rows; see
            :meth:`Units.of`; :func:`gradshape.data.normalized` gives that of normalised pictures. Rows
            are mapped from it to [0, 1], and mapped back for networks and training functions of the user's own. Without
            it values have to lie in [0, 1].
        whole: whether the values are whole numbers, such as token ids, and are to be so for the user's own networks.
            The ends of ``value_range`` are whole as well, then, and at most 2**23 apart.
        num_classes: the number of classes, for labels ``0, 1, ...``; counted if omitted. Labels that are text or
            booleans are numbered in their sorted order.
        regression: whether ``y`` are numbers to be predicted, in [0, 1], rather than classes.
        description: one line on what this is and where it comes from.

    Raises:
        TypeError: rows are of no kind that is listed above.
        ValueError: the name, values, labels or shapes are not as described; the message says which.

    >>> x = np.linspace(-1, 1, 20).reshape(10, 2)
    >>> rows = from_rows((x, ["no", "yes"] * 5), (x, ["yes", "no"] * 5), name="mine", value_range=(-1, 1))
    >>> rows.num_classes, rows.train.y[:3], rows.train.x[0, 0].item()
    (2, tensor([0, 1, 0]), 0.0)
    """
    check_name(name)
    rows = {"train": given_rows("train", train, label=label)}
    rows["test"] = given_rows("test", test, label=label, columns=rows["train"].columns)
    features = {part: _numbers(f"{name}: {part} {_FEATURES}", each.x) for part, each in rows.items()}
    row = features["train"].shape[1:]
    units = None if value_range is None else Units.of(*_ends(value_range), row=row, whole=whole)
    if units is None and whole:
        raise ValueError(f"{name}: whole=True: expected value_range=(lowest, highest), too")
    if num_classes is None and channels_last(row):
        raise ValueError(
            f"{name}: rows have shape {row}, like pictures with their channels last: expected (channels, height, width)"
        )
    found = {part: each.y for part, each in rows.items()}
    classes = 0
    if not regression:
        found = _numbered(name, found)
        classes = num_classes if num_classes is not None else counted_classes(found["train"], found["test"])
    for part, y in found.items():
        _check_numbers(f"{name}: {part} {_LABELS}", y)
    splits = {
        part: Split(
            torch.from_numpy(_in_unit(f"{name}: {part} {_FEATURES}", features[part], units)),
            torch.from_numpy(found[part].astype(np.float32 if regression else np.int64)),
        )
        for part in rows
    }
    return Dataset(name, splits["train"], splits["test"], num_classes=classes, description=description, units=units)


def _ends(value_range: Any) -> tuple[ArrayLike, ArrayLike]:
    try:
        low, high = value_range
    except (TypeError, ValueError):
        raise ValueError(f"value_range={value_range!r}: expected the lowest and the highest value") from None
    return low, high


def _in_unit(where: str, values: NDArray[Any], units: Units | None) -> NDArray[np.float32]:
    if units is not None:
        try:
            return units.to_unit(values)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    problem = outside(values) if values.size else None
    if problem is not None:
        low, high = np.nanmin(values), np.nanmax(values)
        whole = " (0, 255)" if values.dtype == np.uint8 else f", such as ({low:g}, {high:g}) if no row can lie outside"
        raise ValueError(f"{where} {problem}: expected values in [0, 1], or value_range=(lowest, highest){whole}")
    return values.astype(np.float32)


def _numbers(where: str, values: Any) -> NDArray[Any]:
    array = np.asarray(values)
    _check_numbers(where, array)
    if array.ndim < 2 or array.size == 0:
        raise ValueError(f"{where} have shape {array.shape}: expected (N, ...) with at least one value a row, N > 0")
    return array


def _check_numbers(where: str, array: NDArray[Any]) -> None:
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{where} have type {array.dtype}: expected numbers")


def _numbered(name: str, labels: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return class ids: labels that are no integers are numbered in their order."""
    kinds = {part: y.dtype.kind for part, y in labels.items()}
    if set(kinds.values()) <= set("iu"):
        return dict(labels)
    if set(kinds.values()) <= set("fiu") and all((y == np.rint(y)).all() for y in labels.values()):
        return {part: np.rint(y).astype(np.int64) for part, y in labels.items()}
    if set(kinds.values()) & set("f"):
        raise ValueError(f"{name}: {_LABELS} are fractions: expected classes, or regression=True")
    texts = {part: np.asarray([str(one) for one in y.tolist()]) for part, y in labels.items()}
    known = sorted(set(texts["train"].tolist()))
    unseen = sorted(set(texts["test"].tolist()).difference(known))
    if unseen:
        raise ValueError(f"{name}: test rows have class {unseen[0]!r}, train rows only {listed(known)}")
    return {part: np.searchsorted(known, y) for part, y in texts.items()}
