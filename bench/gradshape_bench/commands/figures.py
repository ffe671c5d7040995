"""``gradshape figures``: pictures of a results file."""

import argparse
import sys
from functools import partial

from gradshape_bench.commands.command import Command, Parser, Refused
from gradshape_bench.commands.output_argument import add_output, output
from gradshape_bench.commands.results_argument import add_results, records_of
from gradshape_bench.report import plots


def _add_arguments(parser: Parser) -> None:
    add_results(parser)
    add_output(parser, "FOLDER", default="figures beside the results file")


def _run(options: argparse.Namespace) -> int:
    folder = output(options, options.results.with_name("figures"))
    tell = partial(print, file=sys.stderr)
    try:
        drawn = plots.write(records_of(options.results), folder, tell=tell)
    except plots.MissingMatplotlib as error:
        raise Refused(str(error)) from error
    for kind, files in drawn.items():
        for file in files:
            print(file)
        if not files:
            print(f"not drawn, because no result has it: {kind.shows}", file=sys.stderr)
    return 0


COMMAND = Command(
    "Draw the results as PNG and SVG and print the paths. It needs matplotlib: install the extra `plots`.",
    _add_arguments,
    _run,
)
