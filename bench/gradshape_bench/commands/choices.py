"""Options whose values are members of an enumeration, with near matches for what is none."""

import argparse
from collections.abc import Callable
from enum import Enum
from typing import TypeVar

from gradshape import _validate
from gradshape_bench.case import Scale
from gradshape_bench.commands.command import Parser

E = TypeVar("E", bound=Enum)


def member_of(kind: type[E], name: str) -> Callable[[str], E]:
    """Return a parser of the values of an enumeration, which may be written in small letters."""

    def parse(text: str) -> E:
        values = {member.value.lower(): member for member in kind}
        if text.lower() not in values:
            raise argparse.ArgumentTypeError(str(_validate.unknown(name, text, values)))
        return values[text.lower()]

    return parse


def add_scale(parser: Parser, purpose: str) -> None:
    """Add the option ``--scale``."""
    parser.add_argument("--scale", type=member_of(Scale, "scale"), metavar="smoke|paper", help=purpose)
