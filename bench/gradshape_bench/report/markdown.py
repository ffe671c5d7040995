"""Making Markdown from any text: an escaping function, and tables, lists and code spans."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from functools import lru_cache

_WIDTH = 120
# An underscore inside a word never emphasises, and labels read better without a backslash in each.
_SPECIAL = re.compile(r"[\\`*{}\[\]<>#|~!&$]|(?<![^\W_])_|_(?![^\W_])")


def one_line(text: object) -> str:
    """Return ``text`` without line breaks, repeated spaces and characters that cannot be shown or encoded.

    >>> one_line("a\\n  b")
    'a b'
    """
    joined = " ".join(str(text).split())
    if joined.isprintable():
        return joined
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in joined)


def escape(text: object) -> str:
    r"""Return ``text`` on one line, escaped so that nothing in it is markup in Markdown, HTML or a table.

    >>> print(escape("label_flip_10 | _x_ <b>"))
    label_flip_10 \| \_x\_ \<b\>
    """
    return _escaped(str(text))


# The same labels stand in every row and column.
@lru_cache(maxsize=1 << 14)
def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", one_line(text))


def code(text: object) -> str:
    """Return ``text`` on one line as a code span, whatever backticks it holds; not for tables, as ``|`` stays.

    >>> print(code("-k [a`b]"))
    ``-k [a`b]``
    """
    line = one_line(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    # Markdown strips one space from each side of such a span, so it costs nothing where a backtick touches the fence.
    pad = " " if not line or line[0] == "`" or line[-1] == "`" else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def table(rows: Iterable[Sequence[str]], headers: Sequence[str]) -> str:
    """Return a table of cells that are Markdown already: text from elsewhere must have gone through :func:`escape`.

    A board has thousands of tables, and for that tabulate takes too long; the layout is that of its format ``github``.

    >>> print(table([["a", "b"]], ["first", ""]))
    | first   |    |
    |---------|----|
    | a       | b  |
    """
    lines = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip([f"{header}  " for header in headers], *lines, strict=True)]
    rule = "|".join("-" * (width + 2) for width in widths)
    shown = [" | ".join(map(str.ljust, line, widths)) for line in (headers, *lines)]
    return "\n".join([f"| {shown[0]} |", f"|{rule}|", *(f"| {line} |" for line in shown[1:])])


def bullets(lines: Iterable[str]) -> str:
    """Return a list of lines that are Markdown already.

    >>> bullets(["a", "b"])
    '- a\\n- b'
    """
    return "\n".join(f"- {line}" for line in lines)


# The same explanations stand on many pages.
@lru_cache(maxsize=1 << 10)
def paragraph(text: str, *, indent: str = "") -> str:
    r"""Return Markdown text with line breaks, so that it reads well in a terminal, too.

    Args:
        text: Markdown.
        indent: begins every line but the first, as within a list.

    >>> print(paragraph("word " * 20 + "- 1. word", indent=" " * 20))
    word word word word word word word word word word word word word word word word word word word word
                        \- 1. word
    """
    lines = textwrap.wrap(text, _WIDTH - len(indent), break_long_words=False, break_on_hyphens=False)
    # What is an ordinary sign within a line may begin a list or underline a heading at its beginning.
    lines = [re.sub(r"^(?=[-+=]+(?:\s|$))|(?<=^1)(?=[.)]\s)", r"\\", line) for line in lines]
    return f"\n{indent}".join(lines)


def pieces(block: str, largest: int) -> list[str]:
    """Cut a table into tables of at most so many bytes, each with its header; a block that is no table stays whole.

    >>> [piece.count("b") for piece in pieces(table([["b"], ["b"], ["b"]], ["a"]), 32)]
    [2, 1]
    """
    size = len(block.encode())
    if size <= largest or not block.startswith("|"):
        return [block]
    *header, body = block.split("\n", 2)
    lines = body.split("\n")
    # All lines of a table are about as long.
    room = largest - sum(len(line.encode()) + 1 for line in header)
    count = max(1, room // (1 + max(len(line.encode()) for line in lines)))
    return ["\n".join([*header, *lines[start : start + count]]) for start in range(0, len(lines), count)]
