"""Text for terminals: lines with a tone, wrapped to the width of the terminal that shows them."""

import shutil
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from gradshape_bench.report.markdown import one_line

# Columns where nobody says how many there are, as in a file or the log of a CI.
WIDTH = 100
# No text is wrapped to fewer.
_NARROWEST = 20


class Tone(Enum):
    """What a line tells: whoever shows it may choose a colour by that."""

    PLAIN = auto()
    GOOD = auto()
    UNSURE = auto()
    BAD = auto()


@dataclass(frozen=True)
class Line:
    """A line of text and its tone."""

    text: str
    tone: Tone = Tone.PLAIN


def terminal_width() -> int:
    """Return the columns of the terminal, or :data:`WIDTH`; ``COLUMNS`` in the environment overrides either."""
    return max(_NARROWEST, shutil.get_terminal_size(fallback=(WIDTH, 24)).columns)


def columns(text: str) -> int:
    """Return how many columns a terminal needs for ``text``.

    >>> columns("rad"), columns("数据")
    (3, 4)
    """
    if text.isascii():
        return len(text)
    return sum(_columns_of(character) for character in text)


def _columns_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def wrapped(text: str, width: int, *, first: str = "", indent: str = "  ") -> list[str]:
    """Return ``text`` in lines of at most ``width`` columns, the first of which begins with ``first``, and all others
    with ``indent``, both of spaces.

    Words are kept whole unless one alone is wider than a line.
    """
    lines: list[str] = []
    line = first
    for word in one_line(text).split(" "):
        gap = " " if line.strip() else ""
        if line.strip() and columns(line) + columns(gap + word) > width:
            lines.append(line)
            line, gap = indent, ""
        line += gap + word
        while columns(line) > width:
            cut = _fitting(line, width)
            lines.append(line[:cut])
            line = indent + line[cut:]
    return [*lines, line] if line.strip() or not lines else lines


def _fitting(text: str, width: int) -> int:
    """Return how many characters fit, at least one beyond an indent."""
    used = 0
    for place, character in enumerate(text):
        used += _columns_of(character)
        if used > width:
            return max(place, len(text) - len(text.lstrip()) + 1)
    return len(text)


def aligned(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """Return rows whose columns stand below each other, two spaces apart, with those of the places ``right`` aligned to
    the right.

    >>> aligned([["rad", "0.1"], ["success_rate", "0.25"]], right=[1])
    ['rad            0.1', 'success_rate  0.25']
    """
    widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            _padded(cell, width, right=place in right)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _padded(cell: str, width: int, *, right: bool) -> str:
    space = " " * (width - columns(cell))
    return space + cell if right else cell + space
