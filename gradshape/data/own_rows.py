"""Data sets of rows that the user has in memory: arrays, torch's data sets and loaders, tables."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from gradshape.data._checks import channels_last, counted_classes, outside
from gradshape.data.base import Dataset, Split
from gradshape.data.units import Units

_FEATURES, _LABELS = "features", "labels"
# What two of the same names are called in messages, and in mappings of two arrays.
_PAIRS = (("x", "y"), ("data", "target"), ("data", "labels"), ("image", "label"), ("pixel_values", "labels"))
_NAMED = 5


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
            :class:`Split`; a map-style ``torch.utils.data.Dataset`` of pairs; a ``DataLoader``, of which the data set
            is taken, in its own order; or a table (pandas, Hugging Face ``datasets``) with ``label``.
        name: what it is called in ids: letters, digits and underscores.
        label: the column of a table that is to be predicted; all others, which have to be numbers, are features.
        value_range: the lowest and the highest value that a feature can have, as numbers, one for each channel of
            pictures, or one for each feature; :func:`gradshape.data.normalized` gives that of normalised pictures. Rows
            are mapped from it to [0, 1], and mapped back for networks and training functions of the user's own. Without
            it values have to lie in [0, 1].
        whole: whether the values are whole numbers, such as token ids, and are to be so for the user's own networks.
        num_classes: the number of classes, for labels ``0, 1, ...``; counted if omitted. Labels that are text or
            booleans are numbered in their sorted order.
        regression: whether ``y`` are numbers to be predicted, in [0, 1], rather than classes.
        description: one line on what this is and where it comes from.

    Raises:
        TypeError: rows are of no kind that is listed above.
        ValueError: values, labels or shapes are not as described; the message says which.

    >>> x = np.linspace(-1, 1, 20).reshape(10, 2)
    >>> rows = from_rows((x, ["no", "yes"] * 5), (x, ["yes", "no"] * 5), name="mine", value_range=(-1, 1))
    >>> rows.num_classes, rows.train.y[:3], rows.train.x[0, 0].item()
    (2, tensor([0, 1, 0]), 0.0)
    """
    arrays = {part: _arrays(part, given, label) for part, given in (("train", train), ("test", test))}
    features = {part: _numbers(f"{name}: {part} {_FEATURES}", x) for part, (x, _) in arrays.items()}
    row = features["train"].shape[1:]
    units = None if value_range is None else Units.of(*_ends(value_range), row=row, whole=whole)
    if units is None and whole:
        raise ValueError(f"{name}: whole=True: expected value_range=(lowest, highest), too")
    if num_classes is None and channels_last(row):
        raise ValueError(
            f"{name}: rows have shape {row}, like pictures with their channels last: expected (channels, height, width)"
        )
    found = {part: np.asarray(y) for part, (_, y) in arrays.items()}
    classes = 0
    if not regression:
        found = _numbered(name, found)
        classes = num_classes if num_classes is not None else counted_classes(found["train"], found["test"])
    splits = {
        part: Split(
            torch.from_numpy(_in_unit(f"{name}: {part} {_FEATURES}", features[part], units)),
            torch.from_numpy(found[part].astype(np.float32 if regression else np.int64)),
        )
        for part in arrays
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
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{where} have type {array.dtype}: expected numbers")
    if array.ndim < 2 or array.size == 0:
        raise ValueError(f"{where} have shape {array.shape}: expected (N, ...) with at least one value a row, N > 0")
    return array


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
        raise ValueError(f"{name}: test rows have class {unseen[0]!r}, train rows only {_listed(known)}")
    return {part: np.searchsorted(known, y) for part, y in texts.items()}


def _arrays(part: str, given: Any, label: str | None) -> tuple[Any, Any]:
    if isinstance(given, Split):
        return given.x.numpy(), given.y.numpy()
    if isinstance(given, DataLoader):
        return _arrays(part, given.dataset, label)
    if hasattr(given, "columns") or hasattr(given, "column_names"):
        return _of_table(part, given, label)
    if isinstance(given, Mapping):
        return _of_mapping(part, given)
    if isinstance(given, tuple | list) and len(given) == 2:
        x, y = given
        return _array(x), _array(y)
    if hasattr(given, "__getitem__") and hasattr(given, "__len__"):
        return _of_items(part, given)
    raise TypeError(
        f"{part}={type(given).__name__}: expected a pair (x, y) of arrays, a mapping of two, a Split, a map-style "
        "torch Dataset, a DataLoader of one, or a table with label=..."
    )


def _array(values: Any) -> Any:
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy()
    if isinstance(values, Sequence) and len(values) and isinstance(values[0], Tensor):
        return np.stack([value.detach().cpu().numpy() for value in values])
    return np.asarray(values)


def _of_mapping(part: str, given: Mapping[str, Any]) -> tuple[Any, Any]:
    for x, y in _PAIRS:
        if x in given and y in given:
            return _array(given[x]), _array(given[y])
    pairs = " or ".join(f"{x!r} and {y!r}" for x, y in _PAIRS)
    raise ValueError(f"{part} has {_listed(given)}: expected {pairs}")


def _of_items(part: str, given: Any) -> tuple[Any, Any]:
    """Gather the rows of a map-style data set."""
    if not len(given):
        raise ValueError(f"{part} has no rows: expected at least 1")
    pairs = [_pair(part, item) for item in _items(given)]
    shapes = {np.shape(x) for x, _ in pairs}
    if len(shapes) > 1:
        one, other = sorted(shapes)[:2]
        raise ValueError(f"{part} has rows of shapes {one} and {other}: expected one shape")
    return np.stack([x for x, _ in pairs]), np.asarray([y for _, y in pairs])


def _items(given: Any) -> Iterator[Any]:
    for place in range(len(given)):
        yield given[place]


def _pair(part: str, item: Any) -> tuple[Any, Any]:
    if isinstance(item, Mapping):
        x, y = _of_mapping(part, item)
    elif isinstance(item, tuple | list) and len(item) == 2:
        x, y = (_array(one) for one in item)
    else:
        raise TypeError(f"{part} has a {type(item).__name__} as an item: expected pairs (x, y), or mappings of two")
    if np.ndim(y):
        raise ValueError(f"{part} has a label of shape {np.shape(y)}: expected one number or text a row")
    return x, np.asarray(y).item()


def _of_table(part: str, given: Any, label: str | None) -> tuple[Any, Any]:
    columns = [str(column) for column in (given.columns if hasattr(given, "columns") else given.column_names)]
    if label is None or label not in columns:
        raise ValueError(f"label={label!r}: expected the column of {part} that is to be predicted: {_listed(columns)}")
    read: Callable[[str], Any] = lambda column: _array(given[column])  # noqa: E731
    features = {column: read(column) for column in columns if column != label}
    if not features:
        raise ValueError(f"{part} has no column but {label!r}: expected features, too")
    texts = [column for column, values in features.items() if np.asarray(values).dtype.kind not in "biuf"]
    if texts:
        raise ValueError(f"{part}: column {_listed(texts)} has other values than numbers: encode or drop it")
    if len(features) == 1:
        # Such as the pictures of an image data set.
        [only] = features.values()
        return only if np.ndim(only) > 1 else only[:, None], read(label)
    wide = [column for column, values in features.items() if np.ndim(values) > 1]
    if wide:
        raise ValueError(f"{part}: column {_listed(wide)} has several values a row: expected one, or no other column")
    return np.column_stack([values.astype(np.float64) for values in features.values()]), read(label)


def _listed(names: Any) -> str:
    listed = [repr(name) for name in names]
    return ", ".join(listed[:_NAMED]) + (f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else "")
