"""The lists of targets that come with the harness: one JSON file for each data set and kind of target."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from torch import Tensor

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class StoredTarget:
    """A target in a list.

    Attributes:
        row: number of the row in the data set's whole test split.
        digest: digest of the row's values, by which it is also found in a part of the split.
        label: class of the row.
        intended: class that the row is to be taken for.
    """

    row: int
    digest: str
    label: int
    intended: int


def row_digest(x: Tensor) -> str:
    """Return the digest of a row ``x (*shape)``: the first 16 hex digits of the sha256 of its float32 values.

    >>> import torch
    >>> row_digest(torch.tensor([0.0, 1.0]))
    '22b6f43bd8d27738'
    """
    return hashlib.sha256(np.ascontiguousarray(x.cpu().numpy().astype("<f4")).data).hexdigest()[:16]


def list_name(dataset: str, pair: tuple[int, int] | None) -> str:
    """Return the name of a list: that of the data set, and the two classes or ``nearest``."""
    return f"{dataset}-nearest" if pair is None else f"{dataset}-{pair[0]}-{pair[1]}"


@dataclass(frozen=True)
class StoredList:
    """A list of targets.

    Attributes:
        rows: number of rows in the whole test split.
        targets: the targets, in the order in which they are attacked.
    """

    rows: int
    targets: Sequence[StoredTarget]


@cache
def stored(dataset: str, pair: tuple[int, int] | None) -> StoredList | None:
    """Return the list of targets for a data set; ``None`` if there is none.

    Args:
        dataset: name of the data set.
        pair: class of the targets and class that they are to be taken for; ``None`` for targets of any class, each of
            which is to be taken for the wrong class that is likeliest to logistic regression.
    """
    path = FOLDER / f"{list_name(dataset, pair)}.json"
    if not path.exists():
        return None
    document = json.loads(path.read_text(encoding="utf-8"))
    return StoredList(document["rows"], tuple(StoredTarget(*entry) for entry in document["targets"]))
