"""Making Markdown from any text: an escaping function, and tables, lists and code spans."""

import re
from collections.abc import Iterable, Sequence

from tabulate import tabulate

# An underscore inside a word never emphasises, and labels read better without a backslash in each.
_SPECIAL = re.compile(r"[\\`*{}\[\]<>#|~!&$]|(?<![^\W_])_|_(?![^\W_])")


def one_line(text: object) -> str:
    """Return ``text`` without line breaks, repeated spaces and characters that cannot be shown or encoded.

    >>> one_line("a\\n  b")
    'a b'
    """
    joined = " ".join(str(text).split())
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in joined)


def escape(text: object) -> str:
    r"""Return ``text`` on one line, escaped so that nothing in it is markup in Markdown, HTML or a table.

    >>> print(escape("label_flip_10 | _x_ <b>"))
    label_flip_10 \| \_x\_ \<b\>
    """
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
    """Return a table of cells that are Markdown already: text from elsewhere must have gone through :func:`escape`."""
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def bullets(lines: Iterable[str]) -> str:
    """Return a list of lines that are Markdown already.

    >>> bullets(["a", "b"])
    '- a\\n- b'
    """
    return "\n".join(f"- {line}" for line in lines)
