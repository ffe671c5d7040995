"""``gradshape REPORT [RESULTS] [--output PATH]``: make a report again from the results file.

``gradshape publish [RESULTS] [--into FOLDER]`` takes what complete runs measured into the tracked reports.
``gradshape diff BEFORE AFTER`` says which cases and which numbers two results files do not share.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gradshape_bench import publish
from gradshape_bench.case import Scale
from gradshape_bench.record import Record
from gradshape_bench.report import comparison, leaderboard, ledger, plots, tradeoff
from gradshape_bench.store import ResultsFile

_RESULTS = Path("results", "results.jsonl")
_PUBLISHED = Path("reports")
_REPORTS = {
    "leaderboard": (leaderboard.write, "write the Markdown leaderboard and print where it is"),
    "privacy": (tradeoff.write, "write what privacy costs on clean data as Markdown and print where it is"),
    "ledger": (ledger.write, "write the reproduction ledger as Markdown and print where it is"),
}

_PAGES = {"ledger": "reproduction.md", "figures": "figures"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns 0, or 1 after one line on stderr. ``diff`` returns 1 for differences, 2 after an error.

    Bad usage exits with 2.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "diff":
        return _diff(options)
    results: Path = options.results
    if options.command == "publish":
        return _publish(options)
    page: Path = options.output or results.with_name(_PAGES.get(options.command, f"{options.command}.md"))
    if page.resolve() == results.resolve():
        parser.error(f"--output {page}: this is the results file itself: name another")
    try:
        records = _records(results)
        if options.command == "figures":
            _draw(records, page)
        else:
            write, _ = _REPORTS[options.command]
            write(records, page)
            print(page)
    except (OSError, plots.MissingMatplotlib) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _records(path: Path) -> list[Record]:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such results file: run `pytest suites/` first, or name another")
    return ResultsFile(path).records()


def _diff(options: argparse.Namespace) -> int:
    try:
        found = comparison.compare(_records(options.before), _records(options.after), tolerance=options.tolerance)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for line in found.lines():
        print(line)
    return 0 if found.same else 1


def _publish(options: argparse.Namespace) -> int:
    scales = tuple(Scale) if options.scale is None else (Scale(options.scale),)
    try:
        publication = publish.prepare(options.results, options.into, scales=scales, replace=options.replace)
        for line in (*publication.changes, *publication.remarks):
            print(line)
        if not publication.changes:
            print(f"{options.into} holds all of it already")
        elif not options.dry_run:
            publication.write()
    except (OSError, publish.Refused, plots.MissingMatplotlib, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _draw(records: Sequence[Record], folder: Path) -> None:
    for kind, files in plots.write(records, folder).items():
        for file in files:
            print(file)
        if not files:
            print(f"not drawn, because no result has it: {kind.shows}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gradshape", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (_, purpose) in _REPORTS.items():
        _add(commands.add_parser(name, help=purpose), "FILE", "Markdown file (default: beside the results file)")
    _add(
        commands.add_parser("figures", help="draw the results as PNG and SVG, print where; needs the extra `plots`"),
        "FOLDER",
        "folder of the pictures (default: figures, beside the results file)",
    )
    publishing = commands.add_parser(
        "publish", help="take complete runs into the tracked reports, and say what that replaces; needs `plots`"
    )
    _add_results(publishing)
    publishing.add_argument(
        "--into", type=Path, default=_PUBLISHED, metavar="FOLDER", help="published pages (default: %(default)s)"
    )
    publishing.add_argument("--scale", choices=[scale.value for scale in Scale], help="this scale alone (default: all)")
    publishing.add_argument(
        "--replace", action="store_true", help="publish these runs alone: what else is published at their scales goes"
    )
    publishing.add_argument("--dry-run", action="store_true", help="say what it would do, and write nothing")
    comparing = commands.add_parser(
        "diff",
        help="which cases and numbers two results files do not share; exit status 0 if they say the same, else 1",
    )
    comparing.add_argument("before", type=Path, metavar="BEFORE", help="results file")
    comparing.add_argument("after", type=Path, metavar="AFTER", help="results file")
    comparing.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        metavar="T",
        help="numbers this close are the same (default: %(default)s)",
    )
    return parser


def _add_results(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "results",
        nargs="?",
        type=Path,
        default=_RESULTS,
        metavar="RESULTS",
        help="results file (default: %(default)s)",
    )


def _add(command: argparse.ArgumentParser, output: str, meaning: str) -> None:
    _add_results(command)
    command.add_argument("--output", type=Path, metavar=output, help=meaning)


if __name__ == "__main__":
    sys.exit(main())
