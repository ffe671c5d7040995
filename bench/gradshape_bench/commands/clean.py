"""``gradshape clean``: what is gone, failed or damaged off results and cache."""

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from gradshape_bench.cache import Useless, useless
from gradshape_bench.commands.command import Command, Parser, Refused
from gradshape_bench.commands.declared_cases import declared_cases
from gradshape_bench.commands.results_argument import add_results, records_of
from gradshape_bench.commands.suites import files_with_cases
from gradshape_bench.options import CACHE
from gradshape_bench.records.pending import Pending
from gradshape_bench.records.record import Record, Status
from gradshape_bench.records.store import ResultsFile
from gradshape_bench.report.beside import write_pages
from gradshape_bench.report.cells import count

_SHOWN = 20
_MEASURED = (Status.OK, Status.SKIPPED)


def _add_arguments(parser: Parser) -> None:
    add_results(parser)
    parser.add_argument(
        "--gone",
        action="store_true",
        help="records of cases that no test declares any more; pytest is asked, of all files below this folder that "
        "declare cases, or of what stands after `--`",
    )
    parser.add_argument(
        "--failed", action="store_true", help="records of trials that failed, crashed, diverged or took too long"
    )
    parser.add_argument(
        "--match",
        action="append",
        default=[],
        metavar="PATTERN",
        help="records of cases whose id the pattern matches, such as '*-label_flip_*-vanilla'; may be given several "
        "times",
    )
    parser.add_argument(
        "--cache", action="store_true", help="damaged finished jobs, and temporary files of runs that were killed"
    )
    parser.add_argument(
        "--cache-dir", type=Path, default=CACHE, metavar="DIR", help="folder of finished jobs (default: %(default)s)"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would be removed, and remove nothing")
    parser.add_argument("--yes", action="store_true", help="remove it without asking")


@dataclass(frozen=True)
class _Plan:
    """What is to be removed.

    Attributes:
        records: records and why each of them.
        open_again: cases of these that are to be measured again before their run is complete.
        settled: open cases that no test declares any more.
        files: files of the cache.
    """

    records: Sequence[tuple[Record, str]]
    open_again: Sequence[tuple[str, str]]
    settled: Sequence[tuple[str, str]]
    files: Sequence[Useless]


def _run(options: argparse.Namespace) -> int:
    chosen = options.gone or options.failed or options.match or options.cache
    if not chosen:
        options.gone = options.failed = options.cache = True
    plan = _plan(options)
    for line in _described(plan, options.results):
        print(line)
    if not (plan.records or plan.settled or plan.files):
        print("nothing to remove")
        return 0
    if options.dry_run:
        return 0
    if not options.yes and not _confirmed():
        raise Refused("nothing is removed: expected the answer `yes`, or --yes")
    _remove(plan, options.results)
    return 0


def _plan(options: argparse.Namespace) -> _Plan:
    reasons: list[tuple[str, Callable[[Record], bool]]] = []
    open_cases: set[tuple[str, str]] = set()
    declared: set[tuple[str, str]] = set()
    records: list[Record] = []
    if options.gone or options.failed or options.match:
        records = records_of(options.results)
        open_cases = Pending(options.results).keys() or set()
    if options.gone:
        declared = _declared(options)
        reasons.append(("no test declares it", lambda record: record.key not in declared))
    if options.failed:
        reasons.append(("", lambda record: record.status not in _MEASURED))
    if options.match:
        reasons.append(("it matches", lambda record: any(fnmatchcase(record.case, at) for at in options.match)))
    found = [
        (record, reason or record.status.value)
        for record in records
        for reason in [next((name for name, holds in reasons if holds(record)), None)]
        if reason is not None
    ]
    gone = {record.key for record, _ in found} - declared if options.gone else set()
    return _Plan(
        found,
        open_again=[record.key for record, _ in found if record.status not in _MEASURED and record.key not in gone],
        settled=sorted(open_cases - declared) if options.gone else [],
        files=list(useless(options.cache_dir / "jobs")) if options.cache else [],
    )


def _declared(options: argparse.Namespace) -> set[tuple[str, str]]:
    tests = options.pytest or files_with_cases(Path.cwd())
    if not tests:
        raise Refused("no file below this folder declares cases: run it from the project's root, or add `-- TESTS`")
    declared = declared_cases(tests)
    if not declared:
        raise Refused(f"pytest finds no case in {' '.join(tests)}, so that every record would go: expected some")
    return declared


def _described(plan: _Plan, results: Path) -> list[str]:
    lines = []
    if plan.records:
        lines.append(f"{count(len(plan.records), 'record')} of {results}:")
        lines += _some([f"{record.scale} {record.case} ({reason})" for record, reason in plan.records])
    if plan.settled:
        lines.append(f"{count(len(plan.settled), 'open case')} that no test declares:")
        lines += _some([" ".join(key) for key in plan.settled])
    if plan.files:
        size = sum(file.size for file in plan.files)
        lines.append(f"{count(len(plan.files), 'file')} of the cache, {size / 2**20:.1f} MiB:")
        lines += _some([f"{file.path} ({file.reason})" for file in plan.files])
    return lines


def _some(lines: Sequence[str]) -> list[str]:
    more = [f"  and {len(lines) - _SHOWN:,} more"] if len(lines) > _SHOWN else []
    return [*(f"  {line}" for line in lines[:_SHOWN]), *more]


def _confirmed() -> bool:
    print("remove all of this? [yes/no] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _remove(plan: _Plan, results: Path) -> None:
    for file in plan.files:
        # Another process may have removed it, or put a good one in its place that is made again.
        with suppress(FileNotFoundError):
            file.path.unlink()
    store, pending = ResultsFile(results), Pending(results)
    if plan.records:
        # First, so that at no moment a run seems to be complete that is not.
        if plan.open_again and pending.keys() is not None:
            pending.add(plan.open_again)
        store.remove({record.key for record, _ in plan.records})
    if plan.settled:
        pending.discard(plan.settled)
    if plan.records:
        for remark in write_pages(store.records(), results)[1]:
            print(remark, file=sys.stderr)
    print("removed")


COMMAND = Command(
    "Remove from a results file what has no business on its board any more, renew the pages beside it, and remove what "
    "is of no use in the cache. It shows everything first, and asks. Without --gone, --failed, --match or --cache it "
    "looks for all that is gone, failed or damaged. A failed case that is still declared counts as selected and not "
    "measured until it is run again, so that no incomplete run is published.",
    _add_arguments,
    _run,
    for_pytest="the tests that declare the cases that exist, such as `-- suites/`",
)
