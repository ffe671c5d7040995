"""The place that a command writes to, which is never that of what it reads."""

import argparse
from pathlib import Path

from gradshape_bench.commands.command import Parser
from gradshape_bench.records.pending import Pending


def add_output(parser: Parser, kind: str, *, default: str) -> None:
    """Add the option ``--output``; ``kind`` is FILE or FOLDER, ``default`` says where it is otherwise."""
    parser.add_argument("--output", type=Path, metavar=kind, help=f"where to write (default: {default})")


def output(options: argparse.Namespace, default: Path) -> Path:
    """Return where to write; exit with status 2 if results lie there."""
    results: Path = options.results
    chosen: Path = options.output or default
    for kept, what in ((results, "the results file itself"), (Pending(results).path, "its list of open cases")):
        if chosen.resolve() == kept.resolve() or (chosen.exists() and kept.exists() and chosen.samefile(kept)):
            options.parser.error(f"--output {chosen}: this is {what}: name another")
    return chosen
