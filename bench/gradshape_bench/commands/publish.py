"""``gradshape publish``: complete runs into the tracked reports."""

import argparse
from pathlib import Path

from gradshape_bench import publish
from gradshape_bench.case import Scale
from gradshape_bench.commands.choices import add_scale
from gradshape_bench.commands.command import Command, Parser, Refused
from gradshape_bench.commands.results_argument import add_results
from gradshape_bench.report import plots

_PUBLISHED = Path("reports")


def _add_arguments(parser: Parser) -> None:
    add_results(parser)
    parser.add_argument(
        "--into",
        type=Path,
        default=_PUBLISHED,
        metavar="FOLDER",
        help="folder of the tracked reports (default: %(default)s)",
    )
    add_scale(parser, "publish this scale only (default: both scales)")
    parser.add_argument(
        "--replace", action="store_true", help="drop what is published at the runs' scales and is not in these runs"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")


def _run(options: argparse.Namespace) -> int:
    scales = tuple(Scale) if options.scale is None else (options.scale,)
    try:
        publication = publish.prepare(options.results, options.into, scales=scales, replace=options.replace)
    except (publish.Refused, plots.MissingMatplotlib) as error:
        raise Refused(str(error)) from error
    for line in (*publication.changes, *publication.remarks):
        print(line)
    if not publication.changes:
        print(f"{options.into} holds all of it already")
    elif not options.dry_run:
        publication.write()
    return 0


COMMAND = Command(
    "Take complete runs into the tracked reports and say what that replaces. It refuses runs of which a selected case "
    "is not measured or failed. It draws the figures, too: install the extra `plots`.",
    _add_arguments,
    _run,
)
