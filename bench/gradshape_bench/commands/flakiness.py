"""``gradshape flakiness``: what other seeds would have said."""

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from gradshape_bench.commands.command import Command, Parser, Refused
from gradshape_bench.commands.results_argument import some_records
from gradshape_bench.records.pending import Pending
from gradshape_bench.records.store import write_atomically
from gradshape_bench.report.flakiness import flakiness

_FOLDER = Path("results", "flakiness")
_PLAN = "repetitions.json"
# The first seeds of two repetitions are as far apart, more than a case may have seeds.
_APART = 10_000
# Exit statuses of pytest that say that all tests ran, whether they passed or not.
_COMPLETE = (0, 1)


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="results files of repetitions")
    parser.add_argument(
        "--run",
        type=int,
        metavar="N",
        help="make the repetitions first: run pytest N times, each with seeds of its own; those that an interrupted "
        "command has finished are not run again",
    )
    parser.add_argument(
        "--into",
        type=Path,
        default=_FOLDER,
        metavar="FOLDER",
        help="folder of the repetitions that --run makes (default: %(default)s)",
    )


def _run(options: argparse.Namespace) -> int:
    if options.run is None:
        if options.pytest or not options.files:
            options.parser.error("expected results files, or --run N and pytest's arguments after `--`")
        files = options.files
    else:
        if options.files:
            options.parser.error(f"--run makes its own results files: expected none, not {options.files[0]}")
        if options.run < 2:
            options.parser.error(f"--run {options.run}: expected at least 2 repetitions")
        files = _repetitions(options.run, options.into, options.pytest)
    found = flakiness([some_records(path) for path in files])
    for line in found.lines():
        print(line)
    return 1 if found.flips else 0


def _repetitions(number: int, folder: Path, arguments: Sequence[str]) -> list[Path]:
    """Run pytest as often as is needed, and return the results files.

    Raises:
        Refused: the folder holds repetitions of something else, or a run did not come to its end.
    """
    _check_plan(folder, arguments)
    files = [folder / f"repetition-{place + 1}.jsonl" for place in range(number)]
    for place, path in enumerate(files):
        if _complete(path):
            print(f"{path}: complete already", file=sys.stderr)
            continue
        own = ["--gradshape-results", str(path), "--gradshape-first-seed", str(_APART * place)]
        command = ["pytest", *arguments, *own]
        print(shlex.join(command), file=sys.stderr, flush=True)
        status = subprocess.call([sys.executable, "-m", *command])
        if status not in _COMPLETE or not path.exists():
            raise Refused(f"pytest ended with status {status}: run the same command again to go on from here")
    return files


def _complete(path: Path) -> bool:
    return path.exists() and Pending(path).keys() == set()


def _check_plan(folder: Path, arguments: Sequence[str]) -> None:
    """Note what the folder's repetitions are of.

    Raises:
        Refused: they are of something else.
    """
    plan = folder / _PLAN
    given = list(arguments)
    if plan.exists():
        try:
            known = json.loads(plan.read_text(encoding="utf-8"))
        except ValueError as error:
            raise Refused(f"{plan}: it is damaged: {error}: remove the folder, or name another by --into") from error
        if known != given:
            raise Refused(
                f"{folder} holds repetitions of `pytest {shlex.join(map(str, known))}`: name another folder by --into, "
                "or remove it"
            )
    else:
        write_atomically(plan, [json.dumps(given) + "\n"])


COMMAND = Command(
    "Compare repetitions of the same cases with other seeds: list the thresholds whose conclusive verdicts differ "
    "between them, count the inconclusive ones, and give for every metric the A/A noise, which is the standard "
    "deviation of its value between repetitions. Make them by `pytest --first-seed S --results FILE`, or by --run. The "
    "exit status is 0 if no verdict that was shown as conclusive differs, 1 if one does, and 2 if the files cannot be "
    "compared.",
    _add_arguments,
    _run,
    error_status=2,
    for_pytest="with --run, what is run each time, such as `-- suites/ -k digits --seeds 3`",
)
