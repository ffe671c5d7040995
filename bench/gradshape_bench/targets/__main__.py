"""``python -m gradshape_bench.targets DATASET [--pair A B]``: make a list of targets, for the folder of the lists."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from gradshape import _seeds
from gradshape.data import Dataset, load
from gradshape_bench.targets.choice import Targets, check, nearest_wrong_class
from gradshape_bench.targets.stored import list_name, row_digest

_MOST = 400


def targets_of(dataset: Dataset, pair: tuple[int, int] | None) -> list[list[object]]:
    """Entries of a list: test rows in an order drawn by a fixed seed, no two alike, at most 400."""
    test = dataset.test
    rows = torch.arange(len(test)) if pair is None else (test.y == pair[0]).nonzero().squeeze(1)
    rows = rows[torch.randperm(len(rows), generator=_seeds.stream(0, "targets", dataset.name))]
    wanted = nearest_wrong_class(dataset, rows) if pair is None else torch.full_like(rows, pair[1])
    entries: dict[str, list[object]] = {}
    for row, label in zip(rows.tolist(), wanted.tolist(), strict=True):
        digest = row_digest(test.x[row])
        entries.setdefault(digest, [row, digest, int(test.y[row]), label])
        if len(entries) == _MOST:
            break
    return list(entries.values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a list and print where it is; returns 0."""
    parser = argparse.ArgumentParser(prog="python -m gradshape_bench.targets", description=__doc__)
    parser.add_argument("dataset", help="a name that gradshape.data knows")
    parser.add_argument("--pair", type=int, nargs=2, metavar=("TARGET", "WANTED"), help="classes; default: nearest")
    parser.add_argument("--into", type=Path, default=Path(__file__).parent, help="folder (default: that of the lists)")
    options = parser.parse_args(arguments)
    pair = None if options.pair is None else (options.pair[0], options.pair[1])
    try:
        Targets(1, pair)
        dataset = load(options.dataset)
        check(dataset, pair)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    head = {
        "dataset": dataset.name,
        "pair": pair,
        "rows": len(dataset.test),
        "order": "by a fixed seed; wanted is the likeliest wrong class to logistic regression, unless a pair is given",
    }
    path = options.into / f"{list_name(dataset.name, pair)}.json"
    lines = ",\n".join(json.dumps(entry) for entry in targets_of(dataset, pair))
    path.write_text(f'{json.dumps(head)[:-1]}, "targets": [\n{lines}\n]}}\n', encoding="utf-8")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
