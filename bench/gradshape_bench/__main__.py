"""The command ``gradshape``: what can be done with results once they are measured, and with what made them."""

import os
import sys
from collections.abc import Sequence

from gradshape_bench.collector import uncollected
from gradshape_bench.commands.catalogue import ENTRIES, Entry, Topic, find
from gradshape_bench.commands.command import Command, Parser, Refused

_USAGE = "usage: gradshape COMMAND ..."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    An error is one line on stderr and status 1, unless the command's help says otherwise. Bad usage exits with 2.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in ("-h", "--help"):
        print(_help())
        return 0
    if not given or given[0].startswith("-"):
        _refuse("expected a command" if not given else f"expected a command, not {given[0]}")
    try:
        entry = find(given[0])
    except ValueError as error:
        _refuse(str(error))
    command = entry.load()
    own, of_pytest = _split(given[1:], command)
    options = _parser(entry, command).parse(own)
    options.pytest = of_pytest
    try:
        with uncollected():
            status = command.run(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # Whoever reads has read enough. What is left must not be written again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, ValueError, Refused) as error:
        print(f"error: {error}", file=sys.stderr)
        return command.error_status


def _refuse(problem: str) -> None:
    print(f"{_USAGE}\ngradshape: error: {problem}\n`gradshape --help` lists the commands", file=sys.stderr)
    raise SystemExit(2)


def _help() -> str:
    lines = [_USAGE, "", "Look at measured results, make pages of them, and run cases again."]
    width = max(len(entry.name) for entry in ENTRIES)
    for topic in Topic:
        lines += ["", f"{topic.value}:"]
        lines += [f"  {entry.name:<{width}}  {entry.purpose}" for entry in ENTRIES if entry.topic is topic]
    lines += ["", "`gradshape COMMAND --help` describes a command.", "Cases are run by pytest: `pytest suites/`."]
    return "\n".join(lines)


def _split(given: Sequence[str], command: Command) -> tuple[list[str], list[str]]:
    """Return the command's own arguments and those after ``--``, which are pytest's."""
    if not command.for_pytest or "--" not in given:
        return list(given), []
    place = list(given).index("--")
    return list(given[:place]), list(given[place + 1 :])


def _parser(entry: Entry, command: Command) -> Parser:
    epilog = f"Arguments after `--` are pytest's: {command.for_pytest}." if command.for_pytest else None
    parser = Parser(prog=f"gradshape {entry.name}", description=command.description, epilog=epilog)
    command.add_arguments(parser)
    if command.for_pytest:
        parser.usage = f"{parser.format_usage().removeprefix('usage: ').rstrip()} [-- PYTEST ...]"
    return parser


if __name__ == "__main__":
    sys.exit(main())
