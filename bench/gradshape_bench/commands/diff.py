"""``gradshape diff``: in what two results files differ."""

import argparse
from pathlib import Path

from gradshape_bench.commands.command import Command, Parser
from gradshape_bench.commands.results_argument import some_records
from gradshape_bench.report import comparison


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("before", type=Path, metavar="BEFORE", help="results file to compare with")
    parser.add_argument("after", type=Path, metavar="AFTER", help="results file to compare")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        metavar="T",
        help="largest difference between two measured numbers that counts as none (default: %(default)s)",
    )


def _run(options: argparse.Namespace) -> int:
    before, after = (some_records(path) for path in (options.before, options.after))
    found = comparison.compare(before, after, tolerance=options.tolerance)
    for line in found.lines():
        print(line)
    return 0 if found.same else 1


COMMAND = Command(
    "Compare two results files: which cases only one of them has (missing, new), and for the others status, metrics "
    "with the values of the seeds, thresholds, verdicts, seeds, confidence, rows, what the recipe is put up against, "
    "and whether a failure is expected. Times, environments, details, reasons and jobs are not compared. Another "
    "fingerprint of a case is said, and is no difference by itself: it changes with the code that cases are made of. "
    "The exit status is 0 if nothing differs, 1 if something does, and 2 if they cannot be compared, because a file "
    "is not there or holds no record.",
    _add_arguments,
    _run,
    error_status=2,
)
