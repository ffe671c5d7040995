"""Markdown from text that may hold anything: one escaping function, and tables that use it."""

import re
from collections.abc import Iterable, Sequence

from tabulate import tabulate

# An underscore inside a word never emphasises, and labels read better without a backslash in each.
_SPECIAL = re.compile(r"[\\`*{}\[\]<>#|~!&$]|(?<![^\W_])_|_(?![^\W_])")


def one_line(text: object) -> str:
    """``text`` without line breaks, repeated spaces and characters that cannot be shown or encoded.

    >>> one_line("a\\n  b")
    'a b'
    """
    joined = " ".join(str(text).split())
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in joined)


def escape(text: object) -> str:
    r"""``text`` on one line, with nothing in it that Markdown, HTML or a table would take for markup.

    >>> print(escape("label_flip_10 | _x_ <b>"))
    label_flip_10 \| \_x\_ \<b\>
    """
    return _SPECIAL.sub(r"\\\g<0>", one_line(text))


def code(text: object) -> str:
    """``text`` on one line as a code span, whatever backticks it holds. Not for tables: a ``|`` stays as it is.

    >>> print(code("-k [a`b]"))
    ``-k [a`b]``
    """
    line = one_line(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    # Markdown strips one space from each side of such a span, so it costs nothing where a backtick touches the fence.
    pad = " " if not line or line[0] == "`" or line[-1] == "`" else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def table(rows: Iterable[Sequence[str]], headers: Sequence[str]) -> str:
    """A table of cells that are Markdown already: what comes from elsewhere has gone through :func:`escape`."""
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def bullets(lines: Iterable[str]) -> str:
    """A list of lines that are Markdown already.

    >>> bullets(["a", "b"])
    '- a\\n- b'
    """
    return "\n".join(f"- {line}" for line in lines)
