"""``gradshape html``: the leaderboard as a page to browse."""

import argparse
import sys
from pathlib import Path

from gradshape_bench.commands.command import Command, Parser
from gradshape_bench.commands.output_argument import add_output, output
from gradshape_bench.commands.results_argument import add_results, records_of, some_records
from gradshape_bench.gate.since import since
from gradshape_bench.report.beside import BROWSED, path_beside
from gradshape_bench.report.html import write


def _add_arguments(parser: Parser) -> None:
    add_results(parser)
    parser.add_argument(
        "after", nargs="?", type=Path, metavar="NEW", help="later results file: show what changed in it since RESULTS"
    )
    parser.add_argument("--against", type=Path, metavar="FILE", help="earlier results file: show what changed since")
    parser.add_argument(
        "--across-machines",
        action="store_true",
        help="compare numbers that were measured on different machines or with other versions of libraries",
    )
    add_output(parser, "FILE", default=f"{BROWSED.name} beside the newer results file")


def _run(options: argparse.Namespace) -> int:
    if options.after is not None and options.against is not None:
        options.parser.error(f"--against {options.against}: {options.results} is what is compared with already")
    if options.after is not None:
        options.against, options.results = options.results, options.after
    page = output(options, path_beside(options.results, BROWSED))
    if options.against is not None and page.resolve() == options.against.resolve():
        options.parser.error(f"--output {page}: this is the results file to compare with: name another")
    records, against = records_of(options.results), None
    if options.against is not None:
        against = since(some_records(options.against), records, across_machines=options.across_machines)
    for remark in write(records, page, against=against):
        print(remark, file=sys.stderr)
    print(page)
    return 0


COMMAND = Command(
    "Write the leaderboard as one HTML page that needs no network: sort and filter the matrix, open cells, and copy "
    "tables as Markdown. With two results files, or with --against, it shows what changed, too, as `compare` judges "
    "it. Figures are linked if the folder figures lies beside the page.",
    _add_arguments,
    _run,
)
