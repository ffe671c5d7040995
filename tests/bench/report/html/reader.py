"""Reads a page back as its scripts do, so that tests can say what it holds."""

import json
import re
from typing import Any


def board(page: str) -> dict[str, Any]:
    """Return the index of the page."""
    found: dict[str, Any] = json.loads(data(page, "board"))
    return found


def documents(page: str, which: str = "records") -> list[dict[str, Any]]:
    """Return the documents of all sections, in the order of the page."""
    return [
        document
        for place, section in enumerate(board(page)["sections"])
        for document in unpack(data(page, f"{which}-{place}"), section["rows"])
    ]


def data(page: str, name: str) -> str:
    """Return the JSON of one element of the page."""
    found = re.findall(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def unpack(packed: str, count: int) -> list[dict[str, Any]]:
    """Return the documents in a text that :func:`gradshape_bench.report.html.tables.pack` returned."""
    found: list[dict[str, Any]] = [{} for _ in range(count)]
    content = json.loads(packed)
    for table in content["tables"]:
        for path, kind, given in table["columns"]:
            column = table["columns"][given][2] if kind == 2 else given
            for place, row in enumerate(table["rows"]):
                _put(found[row], content["paths"][path], column[place] if kind else column)
    return found


def _put(target: dict[str, Any], path: list[str], value: Any) -> None:
    *above, last = path
    for name in above:
        target = target.setdefault(name, {})
    target[last] = value
