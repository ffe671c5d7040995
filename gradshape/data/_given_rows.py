"""Rows as the user has them, whatever holds them: arrays, torch's data sets and loaders, tables."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, default_collate, default_convert

from gradshape._host_arrays import host_array
from gradshape.data._loader_order import always_the_same, batches_of
from gradshape.data.base import Split

# What two of the same names are called in messages, and in mappings of two arrays.
_PAIRS = (("x", "y"), ("data", "target"), ("data", "labels"), ("image", "label"), ("pixel_values", "labels"))
_NAMED = 5
# Columns of a table by their names, in their order.
Columns = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class GivenRows:
    """Rows in the user's own values.

    Attributes:
        x: ``(N, ...)`` features.
        y: ``(N,)`` labels, numbers or text.
        columns: the names of the features, if they are columns of a table.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    columns: Columns | None = None


def given_rows(part: str, given: Any, *, label: str | None = None, columns: Columns | None = None) -> GivenRows:
    """Gather what a user gave as train or test rows.

    Args:
        part: ``train`` or ``test``, for messages.
        given: see :func:`gradshape.data.from_rows`.
        label: the column of a table that is to be predicted.
        columns: the features that a table has to have. They are taken in this order, whatever that of the table is.

    Raises:
        TypeError: rows are of no known kind.
        ValueError: shapes, names or columns are not as described.
    """
    if isinstance(given, Split):
        return GivenRows(_array(given.x), _labels(part, given.y))
    if isinstance(given, DataLoader):
        return _of_loader(part, given, label, columns)
    if _is_table(given) or (label is not None and isinstance(given, Mapping)):
        return _of_table(part, given, label, columns)
    if isinstance(given, Mapping):
        return _of_two(part, *_of_mapping(part, given), columns)
    if isinstance(given, tuple | list) and len(given) == 2:
        x, y = given
        return _of_two(part, x, y, columns)
    if _is_map_style(given):
        return _of_items(part, (given[place] for place in range(len(given))))
    raise _unknown(part, given)


def _is_map_style(given: Any) -> bool:
    return hasattr(given, "__getitem__") and hasattr(given, "__len__") and not isinstance(given, IterableDataset)


def _unknown(part: str, given: Any) -> TypeError:
    return TypeError(
        f"{part}={type(given).__name__}: expected a pair (x, y) of arrays, a mapping of two, a Split, a map-style "
        "torch Dataset, a DataLoader of one, or a table with label=..."
    )


def listed(names: Any) -> str:
    """Return names for a message, the first few of them.

    >>> listed(["a", "b"])
    "'a', 'b'"
    """
    quoted = [repr(name) for name in names]
    return ", ".join(quoted[:_NAMED]) + (f" and {len(quoted) - _NAMED} more" if len(quoted) > _NAMED else "")


def _array(values: Any) -> NDArray[Any]:
    if isinstance(values, Tensor):
        return host_array(values)
    if isinstance(values, Sequence) and len(values) and isinstance(values[0], Tensor):
        return np.stack([host_array(value) for value in values])
    return np.asarray(values)


def _labels(part: str, values: Any) -> NDArray[Any]:
    """Return labels ``(N,)``, each of which has to be there.

    Raises:
        ValueError: one is missing, whatever stands for it; the message names the first row.
    """
    array = _array(values)
    if array.dtype.kind in "biuf":
        missing = np.isnan(array)
    else:
        # In an array of a list of texts and NaN, that is a text as well.
        ones = np.asarray(values, dtype=object).ravel().tolist()
        missing = np.array([_is_missing(one) for one in ones], dtype=np.bool_)
    if missing.any():
        more = f" and {missing.sum() - 1} more" if missing.sum() > 1 else ""
        raise ValueError(
            f"{part} has no label in row {missing.argmax()}{more}: expected one for each row; drop rows without"
        )
    # Objects, as pandas has them, may be numbers.
    return np.asarray(array.tolist()) if array.dtype.kind == "O" else array


def _is_missing(label: Any) -> bool:
    """Return whether this is ``None``, NaN or pandas' ``NaT`` or ``NA``, which are not what they are.

    >>> [_is_missing(label) for label in (None, float("nan"), "nan", 0)]
    [True, True, False, False]
    """
    try:
        return label is None or bool(label != label)
    except TypeError:
        # NA says of nothing whether it is so.
        return True


def _of_two(part: str, x: Any, y: Any, columns: Columns | None) -> GivenRows:
    if not _is_table(x):
        return GivenRows(_array(x), _labels(part, y))
    features, names = _features(part, x, _keys(x), columns)
    return GivenRows(features, _labels(part, y), names)


def _of_mapping(part: str, given: Mapping[str, Any]) -> tuple[Any, Any]:
    for x, y in _PAIRS:
        if x in given and y in given:
            return given[x], given[y]
    pairs = " or ".join(f"{x!r} and {y!r}" for x, y in _PAIRS)
    raise ValueError(f"{part} has {listed(given)}: expected {pairs}, or label=... of a mapping of columns")


def _of_loader(part: str, loader: DataLoader[Any], label: str | None, columns: Columns | None) -> GivenRows:
    """Gather the rows of one pass over a loader."""
    given: Any = loader.dataset
    if not _is_map_style(given):
        raise _unknown(part, given)
    with always_the_same(loader):
        batches, batched = batches_of(loader), loader.batch_sampler is not None
        if loader.collate_fn not in (default_collate, default_convert):
            collate = loader.collate_fn
            made = (collate([given[place] for place in batch] if batched else given[batch]) for batch in batches)
            return _of_batches(part, made)
        places = [place for batch in batches for place in batch] if batched else batches
        if _is_table(given) and label is not None:
            rows = given_rows(part, given, label=label, columns=columns)
            return GivenRows(rows.x[places], rows.y[places], rows.columns)
        return _of_items(part, (given[place] for place in places))


def _of_items(part: str, items: Iterable[Any]) -> GivenRows:
    """Gather rows that are given one by one."""
    features, labels = [], []
    for x, y in (_pair(part, item) for item in items):
        if y.ndim:
            raise ValueError(f"{part} has a label of shape {y.shape}: expected one number or text a row")
        features.append(x)
        labels.append(y.item())
    _check_shapes(part, {x.shape for x in features})
    return GivenRows(np.stack(features), _labels(part, labels))


def _of_batches(part: str, batches: Iterable[Any]) -> GivenRows:
    """Gather rows that are given in batches, or one by one, as a ``collate_fn`` makes them."""
    features, labels = [], []
    for x, y in (_pair(part, batch) for batch in batches):
        features.append(x if y.ndim else x[None])
        labels += y.ravel().tolist()
    _check_shapes(part, {x.shape[1:] for x in features})
    return GivenRows(np.concatenate(features), _labels(part, labels))


def _check_shapes(part: str, shapes: set[tuple[int, ...]]) -> None:
    if not shapes:
        raise ValueError(f"{part} has no rows: expected at least 1")
    if len(shapes) > 1:
        one, other = sorted(shapes)[:2]
        raise ValueError(f"{part} has rows of shapes {one} and {other}: expected one shape")


def _pair(part: str, item: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    if isinstance(item, Mapping):
        x, y = _of_mapping(part, item)
    elif isinstance(item, tuple | list) and len(item) == 2:
        x, y = item
    else:
        raise TypeError(f"{part} has a {type(item).__name__} as an item: expected pairs (x, y), or mappings of two")
    # Texts are not cut, nor what is missing made text.
    return _array(x), _array(y) if isinstance(y, Tensor) else np.asarray(y, dtype=object)


def _is_table(given: Any) -> bool:
    return hasattr(given, "columns") or hasattr(given, "column_names")


def _keys(table: Any) -> dict[str, Any]:
    """Return what the columns of a table are found by, which need not be text, by their names."""
    keys = getattr(table, "columns", None)
    if keys is None:
        keys = getattr(table, "column_names", table)
    return {str(key): key for key in keys}


def _of_table(part: str, given: Any, label: str | None, columns: Columns | None) -> GivenRows:
    keys = _keys(given)
    if label is None or label not in keys:
        raise ValueError(f"label={label!r}: expected the column of {part} that is to be predicted: {listed(keys)}")
    y = _labels(part, given[keys.pop(label)])
    if not keys:
        raise ValueError(f"{part} has no column but {label!r}: expected features, too")
    features, names = _features(part, given, keys, columns)
    return GivenRows(features, y, names)


def _features(part: str, table: Any, keys: Mapping[str, Any], columns: Columns | None) -> tuple[NDArray[Any], Columns]:
    """Return the values ``(N, ...)`` of the columns ``keys`` of a table, in the order of ``columns`` if given."""
    names = tuple(keys) if columns is None else columns
    lacking, unknown = set(names) - set(keys), set(keys) - set(names)
    if lacking or unknown:
        differ = [
            f"{part} {word} {'column' if len(those) == 1 else 'columns'} {listed(sorted(those))}"
            for word, those in (("lacks", lacking), ("has besides", unknown))
            if those
        ]
        raise ValueError(f"{' and '.join(differ)}: expected the columns of train")
    values = {name: _array(table[keys[name]]) for name in names}
    texts = [name for name, array in values.items() if array.dtype.kind not in "biuf"]
    if texts:
        raise ValueError(f"{part}: column {listed(texts)} has other values than numbers: encode or drop it")
    if len(values) == 1:
        # Such as the pictures of an image data set.
        [only] = values.values()
        return only if only.ndim > 1 else only[:, None], names
    wide = [name for name, array in values.items() if array.ndim > 1]
    if wide:
        raise ValueError(f"{part}: column {listed(wide)} has several values a row: expected one, or no other column")
    return np.column_stack([array.astype(np.float64) for array in values.values()]), names
