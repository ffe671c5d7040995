"""``python -m bench REPORT [RESULTS] [--output FILE]``: make a report again from the results file."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import leaderboard, ledger, tradeoff
from bench.store import ResultsFile

_RESULTS = Path("reports", "results.jsonl")
_REPORTS = {
    "leaderboard": (leaderboard.write, "write the Markdown leaderboard and print where it is"),
    "privacy": (tradeoff.write, "write what privacy costs on clean data as Markdown and print where it is"),
    "ledger": (ledger.write, "write the reproduction ledger as Markdown and print where it is"),
}

_PAGES = {"ledger": "reproduction.md"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns 0, or 1 after one line on stderr. Bad usage exits with 2."""
    parser = _parser()
    options = parser.parse_args(arguments)
    results: Path = options.results
    page: Path = options.output or results.with_name(_PAGES.get(options.command, f"{options.command}.md"))
    write, _ = _REPORTS[options.command]
    if page.resolve() == results.resolve():
        parser.error(f"--output {page}: this is the results file itself: name another")
    try:
        if not results.exists():
            raise FileNotFoundError(f"{results}: no such results file: run `pytest suites/` first, or name another")
        write(ResultsFile(results).records(), page)
    except OSError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(page)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (_, purpose) in _REPORTS.items():
        command = commands.add_parser(name, help=purpose)
        command.add_argument(
            "results",
            nargs="?",
            type=Path,
            default=_RESULTS,
            metavar="RESULTS",
            help="results file (default: %(default)s)",
        )
        command.add_argument(
            "--output", type=Path, metavar="FILE", help="Markdown file (default: beside the results file)"
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
