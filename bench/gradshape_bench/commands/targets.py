"""``gradshape targets``: lists of test rows to attack."""

import argparse
from pathlib import Path

from gradshape_bench import targets
from gradshape_bench.commands.command import Command, Parser


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("dataset", metavar="DATASET", help="name of a data set, or path of an .npz file")
    parser.add_argument(
        "--pair",
        type=int,
        nargs=2,
        metavar=("TARGET", "INTENDED"),
        help="class of the targets, and class that they are to be taken for (default: targets of all classes, each to "
        "be taken for its likeliest wrong class)",
    )
    parser.add_argument(
        "--into",
        type=Path,
        default=targets.FOLDER,
        metavar="FOLDER",
        help="folder of the list (default: the harness's own)",
    )


def _run(options: argparse.Namespace) -> int:
    pair = None if options.pair is None else (options.pair[0], options.pair[1])
    try:
        print(targets.write_list(options.dataset, pair, options.into))
    except (OSError, ValueError) as error:
        options.parser.error(str(error))
    return 0


COMMAND = Command("Draw a list of test rows to attack and print the path of its file.", _add_arguments, _run)
