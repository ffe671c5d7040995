"""Loading of data sets by name: registered ones, pairs of their classes, and files."""

import os
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradshape._validate import unknown
from gradshape.data import _npz, _sets, own_sets  # noqa: F401
from gradshape.data._checks import channels_last, counted_classes, outside, rounding
from gradshape.data._pairs import pair
from gradshape.data._storage import ensure
from gradshape.data.base import Dataset, Split
from gradshape.data.errors import DataError
from gradshape.data.source import RawSplit, Source, registered

Name = str | os.PathLike[str]
Root = str | os.PathLike[str] | None


def names() -> tuple[str, ...]:
    """Return the registered names. ``<name>_<a><b>`` (a pair of classes) and paths of ``.npz`` files load as well.

    >>> "digits" in names()
    True
    """
    return tuple(registered())


def info(name: Name) -> Source:
    """Return what is known about a data set without loading it.

    >>> info("digits").rows
    (1437, 360)
    >>> info("digits_38").num_classes
    2

    Raises:
        ValueError: no data set has this name; the message lists near ones.
    """
    sources = registered()
    key = os.fspath(name)
    if (own := own_sets.known(key)) is not None:
        return own
    if key.endswith(".npz"):
        return _npz.source(Path(os.path.expanduser(key)))
    if key in sources:
        return sources[key]
    classes = re.fullmatch(r"(.+)_(\d)(\d)", key)
    if classes and classes[1] in sources:
        return pair(sources[classes[1]], int(classes[2]), int(classes[3]))
    raise unknown("data set", key, sources)


def load(name: Name, *, root: Root = None, download: bool = True) -> Dataset:
    """Load a data set; the same name gives the same rows in the same order, everywhere.

    Args:
        name: one of :func:`names`; or two classes of one, as ``digits_38`` (class 3 is 0, class 8 is 1); or the path
            of an ``.npz`` file with the arrays ``x_train``, ``y_train``, ``x_test`` and ``y_test``. Token counts
            ``counts_train`` and ``counts_test``, dense or as the parts ``_data``, ``_indices``, ``_indptr`` and
            ``_shape`` of a sparse matrix by rows, may stand in place of ``x_train`` and ``x_test``. Or what
            :func:`gradshape.data.remember` was told of.
        root: the folder with one folder a data set; ``$GRADSHAPE_DATA`` by default, else the user's cache
            directory. Files that lie there in their publisher's layout are used as they are.
        download: whether what is missing may be downloaded; ``GRADSHAPE_OFFLINE=1`` forbids it too.

    Raises:
        ValueError: no data set has this name.
        DataUnavailable: a file is missing and is not, or could not be, downloaded.
        DataError: a file is not what its format asks for; the message names the file. Values may lie outside [0, 1] by
            a rounding in float32 (1.2e-7) at most. Where no number of classes is declared, as for an ``.npz`` file,
            each class from 0 to the largest label has train rows, and pictures have their channels first.
        FileNotFoundError: nothing lies at the path of an ``.npz`` file.

    >>> load("digits").input_shape
    (1, 8, 8)
    >>> len(load("digits_38").train)
    285
    """
    source = info(name)
    if own_sets.known(os.fspath(name)) is not None:
        return own_sets.load_remembered(os.fspath(name))
    folder = ensure(source, root, download=download)
    train, test = source.read(folder)
    try:
        num_classes = source.num_classes
        if num_classes != 0 and not {train.y.dtype.kind, test.y.dtype.kind} <= set("biu"):
            raise ValueError(f"{source.name}: labels are {train.y.dtype} and {test.y.dtype}: expected integers")
        if num_classes is None:
            num_classes = counted_classes(train.y, test.y)
        if source.shape is None and channels_last(train.x.shape[1:]):
            raise ValueError(
                f"{source.name}: rows have shape {train.x.shape[1:]}, like pictures with their channels last: expected "
                "(channels, height, width), as x.transpose(0, 3, 1, 2) gives"
            )
        dataset = Dataset(
            name=source.name,
            train=_split(f"{source.name}: train", train, source, num_classes),
            test=_split(f"{source.name}: test", test, source, num_classes),
            num_classes=num_classes,
            description=source.description,
        )
    except ValueError as error:
        raise DataError(folder, f"holds bad data ({error})") from error
    _warn_of_empty_classes(dataset)
    return dataset


def _warn_of_empty_classes(dataset: Dataset) -> None:
    # Classes that were counted all have rows, so these are of a source that declares how many there are.
    empty = (dataset.train.y.bincount(minlength=dataset.num_classes) == 0).nonzero() if dataset.num_classes else ()
    if len(empty):
        first = ", ".join(str(int(label)) for label in empty[:5])
        warnings.warn(f"{dataset.name} has no train rows of class {first}: no victim can learn it", stacklevel=3)


def fetch(name: Name, root: Root = None, *, download: bool = True) -> Path | None:
    """Download what is missing of a data set and return where it lies; ``None`` if it is embedded.

    >>> fetch("digits") is None
    True

    Raises:
        ValueError, DataUnavailable, FileNotFoundError: as :func:`load`.
    """
    source = info(name)
    folder = ensure(source, root, download=download)
    return None if source.embedded else folder


def _split(where: str, rows: RawSplit, source: Source, num_classes: int) -> Split:
    x = _unit(f"{where}: x", rows.x, source.scale)
    if num_classes == 0:
        return Split(x, _unit(f"{where}: y", rows.y, 1))
    return Split(x, torch.from_numpy(rows.y.astype(np.int64)))


def _unit(where: str, values: NDArray[Any], scale: int) -> Tensor:
    """Divide values by ``scale``; those of floats that lie a rounding outside [0, 1] become 0 or 1.

    Raises:
        ValueError: a float lies further outside.
    """
    rounded = False
    if values.dtype.kind == "f" and values.size:
        low, high = values.min(), values.max()
        rounded = not (low >= 0 and high <= scale)
        problem = outside(values, most=scale, slack=scale * rounding(values.dtype)) if rounded else None
        if problem is not None:
            raise ValueError(f"{where} {problem}: expected values in [0, {scale}]")
    unit = torch.empty(values.shape, dtype=torch.float32)
    np.copyto(unit.numpy(), values, casting="same_kind")
    unit.div_(scale)
    return unit.clamp_(0, 1) if rounded else unit
