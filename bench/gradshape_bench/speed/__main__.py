"""``python -m gradshape_bench.speed [RESULTS] [--output FILE]``: make the page about speed again from results."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gradshape_bench.speed import report, results

_RESULTS = Path("results", "speed.json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page; returns 0, or 1 after one line on stderr. Bad usage exits with 2."""
    parser = argparse.ArgumentParser(prog="python -m gradshape_bench.speed", description=__doc__)
    parser.add_argument(
        "results", nargs="?", type=Path, default=_RESULTS, metavar="RESULTS", help="results file (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="Markdown file (default: beside the results file)")
    options = parser.parse_args(arguments)
    source: Path = options.results
    page: Path = options.output or source.with_suffix(".md")
    if page.resolve() == source.resolve():
        parser.error(f"--output {page}: this is the results file itself: name another")
    try:
        if not source.exists():
            raise FileNotFoundError(f"{source}: no such results file: run `pytest suites/test_speed.py` first")
        report.write(results.load(source), page)
    except (OSError, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
