"""Loading of data sets by name: registered ones, pairs of their classes, and files."""

import os
import re
from pathlib import Path

import numpy as np
import torch

from gradshape._validate import unknown
from gradshape.data import _npz, _sets  # noqa: F401
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
    if key.endswith(".npz"):
        return _npz.source(Path(key).expanduser())
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
            ``_shape`` of a sparse matrix by rows, may stand in place of ``x_train`` and ``x_test``.
        root: the folder with one folder a data set; ``$GRADSHAPE_DATA`` by default, else the user's cache
            directory. Files that lie there in their publisher's layout are used as they are.
        download: whether what is missing may be downloaded; ``GRADSHAPE_OFFLINE=1`` forbids it too.

    Raises:
        ValueError: no data set has this name.
        DataUnavailable: a file is missing and is not, or could not be, downloaded.
        DataError: a file is not what its format asks for; the message names the file.
        FileNotFoundError: nothing lies at the path of an ``.npz`` file.

    >>> load("digits").input_shape
    (1, 8, 8)
    >>> len(load("digits_38").train)
    285
    """
    source = info(name)
    folder = ensure(source, root, download=download)
    train, test = source.read(folder)
    num_classes = source.num_classes
    if num_classes is None:
        num_classes = int(max(train.y.max(initial=0), test.y.max(initial=0))) + 1
    try:
        return Dataset(
            name=source.name,
            train=_split(train, source, num_classes),
            test=_split(test, source, num_classes),
            num_classes=num_classes,
            description=source.description,
        )
    except ValueError as error:
        raise DataError(folder, f"holds bad data ({error})") from error


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


def _split(rows: RawSplit, source: Source, num_classes: int) -> Split:
    x = torch.empty(rows.x.shape, dtype=torch.float32)
    np.copyto(x.numpy(), rows.x, casting="same_kind")
    labels = rows.y.astype(np.int64 if num_classes else np.float32)
    return Split(x.div_(source.scale), torch.from_numpy(labels))
