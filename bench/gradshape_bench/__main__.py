"""The command ``gradshape``: what can be done with results once they are measured, and with lists of targets."""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from gradshape_bench import publish, targets
from gradshape_bench.case import Scale
from gradshape_bench.gate import commands as gate
from gradshape_bench.records.pending import Pending
from gradshape_bench.records.record import Record
from gradshape_bench.records.store import ResultsFile, described
from gradshape_bench.report import comparison, leaderboard, ledger, plots, tradeoff
from gradshape_bench.report.html import command as html_command
from gradshape_bench.speed import page as speed_page
from gradshape_bench.speed import results as speed_results

_RESULTS = Path("results", "results.jsonl")
_SPEED_RESULTS = Path("results", "speed.json")
_PUBLISHED = Path("reports")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    An error is one line on stderr and status 1, or 2 of ``diff``, whose 1 says that there are differences. Bad usage
    exits with 2.
    """
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except (OSError, ValueError, publish.Refused, plots.MissingMatplotlib) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if options.command == "diff" else 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gradshape",
        description="Make pages and figures from measured results, publish or compare results, and list targets.",
        epilog="`gradshape COMMAND --help` describes a command. Cases are run by pytest: `pytest suites/`.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")

    def add(name: str, purpose: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")
        command.set_defaults(run=run, parser=command)
        return command

    for name, page, write, purpose in (
        (
            "leaderboard",
            "leaderboard.md",
            leaderboard.write,
            "write the leaderboard as Markdown, with a page a task in the folder of its name, and print its path",
        ),
        (
            "privacy",
            "privacy.md",
            tradeoff.write,
            "write what privacy costs on clean data as Markdown and print its path",
        ),
        ("ledger", "reproduction.md", ledger.write, "write the reproduction ledger as Markdown and print its path"),
    ):
        command = add(name, purpose, _write_page)
        command.set_defaults(write=write, load=_records)
        _add_results(command, _RESULTS)
        _add_output(command, "FILE", page)
    command = add("speed", "write the page about speed as Markdown and print its path", _write_page)
    command.set_defaults(write=speed_page.write, load=speed_results.load)
    _add_results(command, _SPEED_RESULTS)
    _add_output(command, "FILE", None)

    html_command.add(add, default=_RESULTS, load=_records, output=_output)

    command = add("figures", "draw the results as PNG and SVG and print the paths (needs the extra `plots`)", _draw)
    _add_results(command, _RESULTS)
    _add_output(command, "FOLDER", "figures")

    command = add(
        "publish", "take complete runs into the tracked reports and say what that replaces (needs `plots`)", _publish
    )
    _add_results(command, _RESULTS)
    command.add_argument(
        "--into",
        type=Path,
        default=_PUBLISHED,
        metavar="FOLDER",
        help="folder of the tracked reports (default: %(default)s)",
    )
    command.add_argument(
        "--scale", choices=[scale.value for scale in Scale], help="publish this scale only (default: both scales)"
    )
    command.add_argument(
        "--replace", action="store_true", help="drop what is published at the runs' scales and is not in these runs"
    )
    command.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")

    command = add("diff", "list the cases and numbers in which two results files differ", _diff)
    command.description = (
        "Compare two results files: which cases only one of them has (missing, new), and for the others status, "
        "metrics, thresholds, verdicts, seeds, rows and whether a failure is expected. Times, environments, details "
        "and reasons are not compared. Another fingerprint of a case is said, and is no difference by itself: it "
        "changes with the code that cases are made of. The exit status is 0 if nothing differs, 1 if something does, "
        "and 2 if they cannot be compared, because a file is not there or holds no record."
    )
    command.add_argument("before", type=Path, metavar="BEFORE", help="results file to compare with")
    command.add_argument("after", type=Path, metavar="AFTER", help="results file to compare")
    command.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        metavar="T",
        help="largest difference between two measured numbers that counts as none (default: %(default)s)",
    )

    command = add("targets", "draw a list of test rows to attack and print the path of its file", _list_targets)
    command.add_argument("dataset", metavar="DATASET", help="name of a data set, or path of an .npz file")
    command.add_argument(
        "--pair",
        type=int,
        nargs=2,
        metavar=("TARGET", "INTENDED"),
        help="class of the targets, and class that they are to be taken for (default: targets of all classes, each to "
        "be taken for its likeliest wrong class)",
    )
    command.add_argument(
        "--into",
        type=Path,
        default=targets.FOLDER,
        metavar="FOLDER",
        help="folder of the list (default: the harness's own)",
    )
    gate.add_commands(commands)
    return parser


def _add_results(command: argparse.ArgumentParser, default: Path) -> None:
    command.add_argument(
        "results", nargs="?", type=Path, default=default, metavar="RESULTS", help="results file (default: %(default)s)"
    )


def _add_output(command: argparse.ArgumentParser, kind: str, beside: str | None) -> None:
    shown = "the results file's name with .md" if beside is None else f"{beside} beside the results file"
    command.add_argument("--output", type=Path, metavar=kind, help=f"where to write (default: {shown})")
    command.set_defaults(beside=beside)


def _existing(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such results file: run `pytest suites/` first, or name another")
    return path


def _records(path: Path) -> list[Record]:
    return ResultsFile(_existing(path)).records()


def _some_records(path: Path) -> list[Record]:
    """Return the records of a file, and say which of its lines are none.

    Raises:
        ValueError: it holds no records, so that nothing can be told of it.
    """
    contents = ResultsFile(_existing(path)).read()
    if contents.left_out:
        print(described(contents.left_out), file=sys.stderr)
    if not contents.records:
        raise ValueError(f"{path}: it holds no record: expected a results file of a run")
    return contents.records


def _output(options: argparse.Namespace) -> Path:
    results: Path = options.results
    output: Path = options.output or results.with_name(options.beside or f"{results.stem}.md")
    for kept, what in ((results, "the results file itself"), (Pending(results).path, "its list of open cases")):
        if output.resolve() == kept.resolve() or (output.exists() and kept.exists() and output.samefile(kept)):
            options.parser.error(f"--output {output}: this is {what}: name another")
    return output


def _write_page(options: argparse.Namespace) -> int:
    page = _output(options)
    for remark in options.write(options.load(_existing(options.results)), page) or ():
        print(remark, file=sys.stderr)
    print(page)
    return 0


def _draw(options: argparse.Namespace) -> int:
    folder = _output(options)
    tell = partial(print, file=sys.stderr)
    for kind, files in plots.write(_records(options.results), folder, tell=tell).items():
        for file in files:
            print(file)
        if not files:
            print(f"not drawn, because no result has it: {kind.shows}", file=sys.stderr)
    return 0


def _publish(options: argparse.Namespace) -> int:
    scales = tuple(Scale) if options.scale is None else (Scale(options.scale),)
    publication = publish.prepare(options.results, options.into, scales=scales, replace=options.replace)
    for line in (*publication.changes, *publication.remarks):
        print(line)
    if not publication.changes:
        print(f"{options.into} holds all of it already")
    elif not options.dry_run:
        publication.write()
    return 0


def _diff(options: argparse.Namespace) -> int:
    before, after = (_some_records(path) for path in (options.before, options.after))
    found = comparison.compare(before, after, tolerance=options.tolerance)
    for line in found.lines():
        print(line)
    return 0 if found.same else 1


def _list_targets(options: argparse.Namespace) -> int:
    pair = None if options.pair is None else (options.pair[0], options.pair[1])
    try:
        print(targets.write_list(options.dataset, pair, options.into))
    except (OSError, ValueError) as error:
        options.parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
