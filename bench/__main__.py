"""``python -m bench REPORT [RESULTS] [--output PATH]``: make a report again from the results file."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import leaderboard, ledger, plots, tradeoff
from bench.record import Record
from bench.store import ResultsFile

_RESULTS = Path("reports", "results.jsonl")
_REPORTS = {
    "leaderboard": (leaderboard.write, "write the Markdown leaderboard and print where it is"),
    "privacy": (tradeoff.write, "write what privacy costs on clean data as Markdown and print where it is"),
    "ledger": (ledger.write, "write the reproduction ledger as Markdown and print where it is"),
}

_PAGES = {"ledger": "reproduction.md", "figures": "figures"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns 0, or 1 after one line on stderr. Bad usage exits with 2."""
    parser = _parser()
    options = parser.parse_args(arguments)
    results: Path = options.results
    page: Path = options.output or results.with_name(_PAGES.get(options.command, f"{options.command}.md"))
    if page.resolve() == results.resolve():
        parser.error(f"--output {page}: this is the results file itself: name another")
    try:
        if not results.exists():
            raise FileNotFoundError(f"{results}: no such results file: run `pytest suites/` first, or name another")
        records = ResultsFile(results).records()
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


def _draw(records: Sequence[Record], folder: Path) -> None:
    for kind, files in plots.write(records, folder).items():
        for file in files:
            print(file)
        if not files:
            print(f"not drawn, because no result has it: {kind.shows}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (_, purpose) in _REPORTS.items():
        _add(commands.add_parser(name, help=purpose), "FILE", "Markdown file (default: beside the results file)")
    _add(
        commands.add_parser("figures", help="draw the results as PNG and SVG, print where; needs the extra `plots`"),
        "FOLDER",
        "folder of the pictures (default: figures, beside the results file)",
    )
    return parser


def _add(command: argparse.ArgumentParser, output: str, meaning: str) -> None:
    command.add_argument(
        "results",
        nargs="?",
        type=Path,
        default=_RESULTS,
        metavar="RESULTS",
        help="results file (default: %(default)s)",
    )
    command.add_argument("--output", type=Path, metavar=output, help=meaning)


if __name__ == "__main__":
    sys.exit(main())
