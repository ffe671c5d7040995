"""``gradshape rerun``: exactly one case again."""

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

from gradshape_bench.commands.command import Command, Parser, Refused
from gradshape_bench.commands.one_case import add_case, records_of_case
from gradshape_bench.commands.suites import files_with_cases, find_test
from gradshape_bench.records.record import Record
from gradshape_bench.records.rerun import OPTIONS, has_consecutive_seeds, pytest_arguments


def _add_arguments(parser: Parser) -> None:
    add_case(parser)
    parser.add_argument("--print", action="store_true", help="print the command, and run nothing")


def _run(options: argparse.Namespace) -> int:
    records = records_of_case(options)
    if len(records) > 1:
        scales = " or ".join(f"--scale {record.scale}" for record in records)
        raise Refused(f"{options.case}: measured at several scales: add {scales}")
    record = records[0]
    if not has_consecutive_seeds(record):
        said = f"{len(record.seeds)} seeds from {record.seeds[0]} on, not those of the record"
        print(f"{said}: {', '.join(map(str, record.seeds))}", file=sys.stderr)
    # No other plugin has the long names.
    arguments = [*_where(record, options), *pytest_arguments(record, taken=OPTIONS), *options.pytest]
    print(shlex.join(["pytest", *arguments]), flush=True)
    return 0 if options.print else subprocess.call([sys.executable, "-m", "pytest", *arguments])


def _where(record: Record, options: argparse.Namespace) -> list[str]:
    """Return the files to collect: that of the test if it is known, else all that might have it."""
    if any(os.path.exists(argument.partition("::")[0]) for argument in options.pytest):
        return []
    if record.test is not None:
        found = find_test(record.test, options.results)
        if found is None:
            raise Refused(f"{record.test}: no such file here or in a folder above: run it from the project's root")
        return [found]
    files = files_with_cases(Path.cwd())
    if not files:
        raise Refused("no file below this folder declares cases: run it from the project's root, or add `-- TESTS`")
    return files


COMMAND = Command(
    "Run exactly one case again, with the scale and the seeds of its record, wherever its test is in the project. "
    "The command is printed first; the exit status is pytest's. The new record goes where pytest puts records, which "
    "is results/results.jsonl in the project unless `-- --results FILE` says otherwise. Finished jobs come from the "
    "cache: add `-- --no-cache` to compute all of it anew.",
    _add_arguments,
    _run,
    for_pytest="they are added to the command; files or folders among them take the place of the test's file",
)
