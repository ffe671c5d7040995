"""``python -m gradshape.data list | info NAME | fetch NAME``: list, describe or fetch data sets."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from gradshape.data._storage import data_root
from gradshape.data.base import Split
from gradshape.data.loading import fetch, info, load, names
from gradshape.data.source import Source


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 1 after one line on stderr. Bad usage exits with 2."""
    options = _parser().parse_args(arguments)
    root: Path = data_root(getattr(options, "root", None))
    download = not getattr(options, "offline", False)
    try:
        if options.command == "list":
            print(_table(root))
        elif options.command == "info":
            print(_sheet(info(options.name), options.name, root))
        else:
            # The command that an error suggests names a root only if one was given.
            where = fetch(options.name, getattr(options, "root", None), download=download)
            print(where if where is not None else f"{options.name} is embedded: there is nothing to fetch")
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--root", help="folder of the data (default: $GRADSHAPE_DATA, else the user's cache)")
    common.add_argument("--offline", action="store_true", help="never use the network")
    parser = argparse.ArgumentParser(prog="python -m gradshape.data", description=__doc__, parents=[common])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", parents=[common], help="list the registered data sets, and whether they are present")
    for command, purpose in (
        ("info", "show what is known about a data set; never downloads it"),
        ("fetch", "download what is missing and print where it lies"),
    ):
        commands.add_parser(command, parents=[common], help=purpose).add_argument("name", metavar="NAME")
    return parser


def _state(source: Source, root: Path) -> str:
    if source.embedded:
        return "embedded"
    here = source.path.exists() if source.path is not None else not source.missing(root)
    return "present" if here else "missing"


def _table(root: Path) -> str:
    rows = []
    for source in map(info, names()):
        train, test = source.rows or (None, None)
        rows.append((source.name, train, test, _shape(source.shape), source.num_classes, _state(source, root)))
    headers = ("name", "train", "test", "shape", "classes", "state")
    return f"{tabulate(rows, headers, tablefmt='simple', missingval='?')}\n\nFiles lie below {root}."


def _shape(shape: tuple[int, ...] | None) -> str | None:
    return None if shape is None else " x ".join(map(str, shape))


def _sheet(source: Source, name: str, root: Path) -> str:
    state = _state(source, root)
    lines = [("name", source.name), ("description", source.description), ("state", state)]
    if not source.embedded:
        lines.append(("location", str(source.location(root))))
    lines += [("url", file.url) for file in source.files]
    if state == "missing" and source.files:
        lines.append(("fetch with", f"python -m gradshape.data fetch {source.name}"))
    else:
        dataset = load(name, root=root, download=False)
        lines.append(("shape", str(_shape(dataset.input_shape))))
        for label, split in (("train", dataset.train), ("test", dataset.test)):
            lines.append((label, _counts(split, dataset.num_classes)))
        lines.append(("fingerprint", dataset.fingerprint))
    return tabulate(lines, tablefmt="plain", disable_numparse=True)


def _counts(split: Split, num_classes: int) -> str:
    if num_classes == 0:
        low, high = split.y.aminmax()
        return f"{len(split):,} rows; values in [{low:g}, {high:g}], mean {split.y.mean():.3g}"
    return f"{len(split):,} rows; by class: {' '.join(map(str, split.y.bincount(minlength=num_classes).tolist()))}"


if __name__ == "__main__":
    sys.exit(main())
