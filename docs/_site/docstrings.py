"""What the site makes of docstrings, which are written to be read as text."""

import re
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):`~?([^`]+)`")
_TOGETHER = re.compile(r"^    (\w+(?:, \w+)+): ")
_PROMPT = re.compile(r"^( *)>>> ")


class AsMarkdown(griffe.Extension):  # type: ignore[misc, unused-ignore]
    """Takes Sphinx's roles off, describes parameters one by one that stand together, and fences doctests."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            text = _ROLE.sub(lambda found: f"`{found[1]}`", obj.docstring.value)
            obj.docstring.value = "\n".join(_fenced(list(_apart(text.splitlines()))))


def _apart(lines: list[str]) -> Iterator[str]:
    place = 0
    while place < len(lines):
        together = _TOGETHER.match(lines[place])
        more = list(takewhile(lambda line: line.startswith("     "), lines[place + 1 :])) if together else []
        for name in together[1].split(", ") if together else ():
            yield f"    {name}: {lines[place][together.end() :]}"  # type: ignore[union-attr]
            yield from more
        if not together:
            yield lines[place]
        place += 1 + len(more)


def _fenced(lines: list[str]) -> Iterator[str]:
    inside: str | None = None
    for line in lines:
        begins = _PROMPT.match(line)
        if inside is None and begins:
            inside = begins[1]
            yield f"\n{inside}```pycon"
        elif inside is not None and not line.strip():
            yield f"{inside}```"
            inside = None
        yield line
    if inside is not None:
        yield f"{inside}```"
