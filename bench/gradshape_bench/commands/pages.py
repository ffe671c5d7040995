"""``gradshape leaderboard``, ``privacy`` and ``ledger``: one page of a results file each."""

import argparse
import sys
from functools import partial

from gradshape_bench.commands.command import Command, Parser
from gradshape_bench.commands.output_argument import add_output, output
from gradshape_bench.commands.results_argument import add_results, records_of
from gradshape_bench.report.beside import LEADERBOARD, LEDGER, PRIVACY, Page, path_beside, write_page


def _write(page: Page, options: argparse.Namespace) -> int:
    path = output(options, path_beside(options.results, page))
    for remark in write_page(page, records_of(options.results), options.results, output=path):
        print(remark, file=sys.stderr)
    print(path)
    return 0


def _add_arguments(page: Page, parser: Parser) -> None:
    add_results(parser)
    add_output(parser, "FILE", default=f"{page.name} beside results.jsonl, NAME-{page.name} beside NAME.jsonl")


def _command(page: Page, description: str) -> Command:
    return Command(description, partial(_add_arguments, page), partial(_write, page))


LEADERBOARD_PAGE = _command(
    LEADERBOARD, "Write the leaderboard as Markdown and print its path: which defence withstands which attack."
)
PRIVACY_PAGE = _command(
    PRIVACY,
    "Write what privacy costs on clean data as Markdown and print its path. It shows the cases without an attack.",
)
LEDGER_PAGE = _command(
    LEDGER,
    "Write the reproduction ledger as Markdown and print its path: every number of the paper beside ours, with a "
    "verdict.",
)
