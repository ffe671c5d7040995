"""``gradshape show``: everything that is recorded of a case."""

import argparse
import shlex

from gradshape_bench.commands.command import Command, Parser
from gradshape_bench.commands.one_case import add_case, records_of_case
from gradshape_bench.options import RESULTS
from gradshape_bench.records.record import Record
from gradshape_bench.report.case_text import case_text
from gradshape_bench.report.terminal import terminal_width


def _add_arguments(parser: Parser) -> None:
    add_case(parser)
    parser.add_argument("--json", action="store_true", help="print the record itself, as a line of JSON")


def _run(options: argparse.Namespace) -> int:
    for place, record in enumerate(records := records_of_case(options)):
        if options.json:
            print(record.to_json())
            continue
        for line in ([""] if place else []) + case_text(record, width=terminal_width()):
            print(line)
        # Not wrapped, so that it can be copied.
        print(f"\nRe-run it:\n  {_rerun(options, record, both=len(records) > 1)}")
    return 0


def _rerun(options: argparse.Namespace, record: Record, *, both: bool) -> str:
    words = ["gradshape", "rerun", record.case]
    words += [] if options.results == RESULTS else [str(options.results)]
    return shlex.join(words + (["--scale", record.scale] if both else []))


COMMAND = Command(
    "Show all that is recorded of a case: what it is, its thresholds with verdicts and reasons, its metrics with "
    "intervals and the values of the seeds, what it cost, where it was measured, and the command that runs it again.",
    _add_arguments,
    _run,
)
