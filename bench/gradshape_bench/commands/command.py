"""What a command is, and its parser, whose errors suggest what may have been meant."""

import argparse
import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn


@dataclass(frozen=True)
class Command:
    """A command of ``gradshape``.

    Attributes:
        description: what it does, for its help; whole sentences.
        add_arguments: adds its arguments to a parser.
        run: does it, and returns the exit status. Errors of files, ``ValueError`` and :class:`Refused` become one line.
        error_status: exit status of such an error.
        for_pytest: what the arguments after ``--``, which are pytest's, are for; empty if it takes none. They are in
            ``options.pytest``.
    """

    description: str
    add_arguments: Callable[["Parser"], None]
    run: Callable[[argparse.Namespace], int]
    error_status: int = 1
    for_pytest: str = ""


class Refused(Exception):
    """A command does not do what it was asked for, for the reason that the message gives."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors exit with 2 and name near matches of unknown options."""

    def __init__(self, **arguments: Any) -> None:
        # An abbreviation may come to mean another option when one is added.
        super().__init__(allow_abbrev=False, **arguments)

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse all arguments; exit with status 2 if one is unknown or wrong."""
        options, unknown = self.parse_known_args(list(arguments))
        if unknown:
            self._refuse(unknown)
        options.parser = self
        return options

    def _refuse(self, unknown: Sequence[str]) -> NoReturn:
        first = unknown[0].partition("=")[0]
        if not first.startswith("-"):
            self.error(f"one argument too many: {first!r}")
        known = [option for option in self._option_string_actions if option.startswith("--")]
        near = difflib.get_close_matches(first, known, n=2, cutoff=0.6)
        hint = f": did you mean {' or '.join(near)}?" if near else f": known are {', '.join(sorted(known))}"
        self.error(f"unknown option {first}{hint}")
