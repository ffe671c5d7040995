"""Two classes of a data set as a binary task of their own."""

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np

from gradshape.data.source import RawSplit, Source


def keep_pair(rows: RawSplit, first: int, second: int, *, per_class: int | None = None) -> RawSplit:
    """Keep the rows of class ``first``, now labelled 0, and of class ``second``, now 1, in the order of ``rows``.

    With ``per_class``, keep only the first ``per_class`` rows of either class.

    >>> rows = RawSplit(x=np.eye(5), y=np.array([7, 3, 0, 3, 7]))
    >>> keep_pair(rows, 3, 7).y.tolist()
    [1, 0, 0, 1]
    """
    chosen = np.sort(np.concatenate([np.flatnonzero(rows.y == label)[:per_class] for label in (first, second)]))
    return RawSplit(rows.x[chosen], (rows.y[chosen] == second).astype(np.int64))


def pair(base: Source, first: int, second: int) -> Source:
    """Reduce ``base`` to class ``first`` -> 0 and class ``second`` -> 1, named ``<base>_<first><second>``.

    Raises:
        ValueError: the classes are equal, or one is not in ``[0, base.num_classes)``.
    """
    name = f"{base.name}_{first}{second}"
    limit = base.num_classes
    for label in (first, second):
        if limit is not None and not 0 <= label < limit:
            raise ValueError(f"class pair {name!r}: {base.name} has no class {label}, its classes are 0..{limit - 1}")
    if first == second:
        raise ValueError(f"class pair {name!r}: expected two different classes, as in {base.name}_01")
    return dataclasses.replace(
        base,
        name=name,
        description=f"class {first} (0) against class {second} (1) of: {base.description}",
        read=partial(_read, base, first, second),
        num_classes=2,
        rows=None,
        folder=base.folder or base.name,
    )


def _read(base: Source, first: int, second: int, folder: Path) -> tuple[RawSplit, RawSplit]:
    train, test = base.read(folder)
    return keep_pair(train, first, second), keep_pair(test, first, second)
