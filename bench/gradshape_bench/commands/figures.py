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
    for files in drawn.values():
        for file in files:
            print(file)
    missing = [kind.shows for kind, files in drawn.items() if not files]
    if missing:
        # What was drawn comes first wherever both streams go to one place.
        sys.stdout.flush()
        print(f"not drawn, as these results have nothing of the kind: {'; '.join(missing)}", file=sys.stderr)
    return 0


COMMAND = Command(
    "Draw the results as PNG and SVG and print the paths. It needs matplotlib: install the extra `plots`.",
    _add_arguments,
    _run,
)
