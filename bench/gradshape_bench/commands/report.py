"""``gradshape report``: all pages of a results file, as a run writes them at its end."""

import argparse
import sys

from gradshape_bench.commands.command import Command, Parser
from gradshape_bench.commands.results_argument import add_results, records_of
from gradshape_bench.report.beside import write_pages


def _add_arguments(parser: Parser) -> None:
    add_results(parser)


def _run(options: argparse.Namespace) -> int:
    paths, remarks = write_pages(records_of(options.results), options.results)
    for remark in remarks:
        print(remark, file=sys.stderr)
    for path in paths:
        print(path)
    return 0


COMMAND = Command(
    "Write every page that the results file has something for, beside it, and print the paths. A run does the same at "
    "its end. Beside results.jsonl they are called leaderboard.md and the like; beside any other NAME.jsonl they are "
    "called NAME-leaderboard.md, so that two results files in one folder have pages of their own.",
    _add_arguments,
    _run,
)
