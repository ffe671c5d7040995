"""Making a list of targets."""

import json
from pathlib import Path

import torch

from gradshape import _seeds
from gradshape.data import Dataset, load
from gradshape_bench.targets.choice import Targets, check, nearest_wrong_class
from gradshape_bench.targets.stored import list_name, row_digest

_MOST = 400


def draw_targets(dataset: Dataset, pair: tuple[int, int] | None) -> list[list[object]]:
    """Draw the entries of a list: test rows in an order drawn by a fixed seed, no two alike, at most 400."""
    test = dataset.test
    rows = torch.arange(len(test)) if pair is None else (test.y == pair[0]).nonzero().squeeze(1)
    rows = rows[torch.randperm(len(rows), generator=_seeds.stream(0, "targets", dataset.name))]
    intended = nearest_wrong_class(dataset, rows) if pair is None else torch.full_like(rows, pair[1])
    entries: dict[str, list[object]] = {}
    for row, label in zip(rows.tolist(), intended.tolist(), strict=True):
        digest = row_digest(test.x[row])
        entries.setdefault(digest, [row, digest, int(test.y[row]), label])
        if len(entries) == _MOST:
            break
    return list(entries.values())


def write_list(name: str, pair: tuple[int, int] | None, folder: Path) -> Path:
    """Write the list of a data set into ``folder`` and return its path.

    Args:
        name: the data set's name, or the path of an ``.npz`` file.
        pair: class of the targets and class that they are to be taken for; ``None`` for targets of all classes, each of
            which is to be taken for the wrong class that is likeliest to logistic regression.
        folder: an existing folder.

    Raises:
        OSError: the data cannot be had, or the file cannot be written.
        ValueError: there is no such data set, or it has no such classes.
    """
    Targets(1, pair)
    dataset = load(name)
    check(dataset, pair)
    head = {
        "dataset": dataset.name,
        "pair": pair,
        "rows": len(dataset.test),
        "order": "by a fixed seed; without a pair the intended class is the likeliest wrong one to logistic regression",
    }
    path = folder / f"{list_name(dataset.name, pair)}.json"
    lines = ",\n".join(json.dumps(entry) for entry in draw_targets(dataset, pair))
    path.write_text(f'{json.dumps(head)[:-1]}, "targets": [\n{lines}\n]}}\n', encoding="utf-8")
    return path
