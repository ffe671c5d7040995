"""The command ``gradshape html``."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from gradshape_bench.records.record import Record
from gradshape_bench.report.html.document import PAGE, write


def add(
    add_command: Callable[[str, str, Callable[[argparse.Namespace], int]], argparse.ArgumentParser],
    *,
    default: Path,
    load: Callable[[Path], Sequence[Record]],
    output: Callable[[argparse.Namespace], Path],
) -> None:
    """Add the command to the parser of ``gradshape``.

    Args:
        add_command: takes name, purpose and function of a command and returns its parser.
        default: the results file if none is named.
        load: reads the records of a results file; raises ``OSError`` or ``ValueError`` if it cannot.
        output: returns where to write, checked; reads ``results``, ``output`` and ``beside`` from the options.
    """

    def run(options: argparse.Namespace) -> int:
        if options.after is not None and options.against is not None:
            options.parser.error(f"--against {options.against}: {options.results} is what is compared with already")
        if options.after is not None:
            options.against, options.results = options.results, options.after
        page = output(options)
        if options.against is not None and page.resolve() == options.against.resolve():
            options.parser.error(f"--output {page}: this is the results file to compare with: name another")
        against = None if options.against is None else load(options.against)
        if against is not None and not against:
            raise ValueError(f"{options.against}: it holds no record: expected a results file of a run")
        for remark in write(load(options.results), page, against=against):
            print(remark, file=sys.stderr)
        print(page)
        return 0

    command = add_command("html", "write the leaderboard as an HTML page to browse and print its path", run)
    command.description = (
        "Write the leaderboard as one HTML page that needs no network: sort and filter the matrix, open cells, and "
        "copy tables as Markdown. With two results files, or with --against, it shows what changed, too. Figures are "
        "linked if the folder figures lies beside the page."
    )
    command.add_argument(
        "results", nargs="?", type=Path, default=default, metavar="RESULTS", help="results file (default: %(default)s)"
    )
    command.add_argument(
        "after", nargs="?", type=Path, metavar="NEW", help="later results file: show what changed in it since RESULTS"
    )
    command.add_argument("--against", type=Path, metavar="FILE", help="earlier results file: show what changed since")
    command.add_argument(
        "--output", type=Path, metavar="FILE", help=f"where to write (default: {PAGE} beside the newer results file)"
    )
    command.set_defaults(beside=PAGE)
