"""The results file that most commands are given, and what they say if it is not there, or holds nothing."""

import sys
from pathlib import Path

from gradshape_bench.commands.command import Parser
from gradshape_bench.options import RESULTS
from gradshape_bench.records.record import Record
from gradshape_bench.records.store import ResultsFile, described


def add_results(parser: Parser, default: Path = RESULTS) -> None:
    """Add the positional argument ``RESULTS``."""
    parser.add_argument(
        "results", nargs="?", type=Path, default=default, metavar="RESULTS", help="results file (default: %(default)s)"
    )


def existing(path: Path) -> Path:
    """Return the path of a file that is there.

    Raises:
        FileNotFoundError: it is not.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such results file: run cases first (`pytest`), or name another")
    return path


def records_of(path: Path) -> list[Record]:
    """Return the records of a file, of which there may be none, and say which of its lines are none.

    Raises:
        OSError: it is not there, or cannot be read.
    """
    contents = ResultsFile(existing(path)).read()
    if contents.left_out:
        print(described(contents.left_out), file=sys.stderr)
    return contents.records


def some_records(path: Path) -> list[Record]:
    """Return the same of a file that has to hold at least one record.

    Raises:
        OSError: it is not there, or cannot be read.
        ValueError: it holds none, so that nothing can be told of it.
    """
    records = records_of(path)
    if not records:
        raise ValueError(f"{path}: it holds no record: expected a results file of a run")
    return records
