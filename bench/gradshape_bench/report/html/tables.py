"""Packing the documents of records into tables, as most of what records of one section say is the same."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii
from math import isfinite
from typing import Any

from gradshape_bench.report.html import plain_json

# A value whose JSON is longer stays out: the page is for reading, and the results file has everything.
_LONGEST = 20_000
LEFT_OUT = "left out of this page"
Path = tuple[str, ...]


def pack(documents: Sequence[Mapping[str, Any]]) -> str:
    """Return JSON that holds ``documents``, whose text takes a fraction of theirs.

    It is an object with ``paths``, the keys that lead to each value, and ``tables``. A table has the documents of one
    form: ``rows`` are their places in the sequence, and each of its ``columns`` is ``[path, kind, data]``, where the
    path is given by its number and the kind says what ``data`` is: 0 is the value that all of them have, 1 a list with
    a value for each of them, and 2 the number of the column of this table that has the same values.

    Raises:
        ValueError: a document holds a number that is not finite, or a value that JSON has not.
    """
    root = _Branch(())
    forms: defaultdict[tuple[int, ...], list[tuple[int, list[str]]]] = defaultdict(list)
    paths: list[Path] = []
    for row, document in enumerate(documents):
        form: list[int] = []
        values: list[str] = []
        _flatten(document, root, paths, form, values)
        forms[tuple(form)].append((row, values))
    tables = [
        f'{{"rows":{plain_json.text([row for row, _ in found])},"columns":[{_columns(form, [v for _, v in found])}]}}'
        for form, found in forms.items()
    ]
    return f'{{"paths":{plain_json.text(paths)},"tables":[{",".join(tables)}]}}'


@dataclass(slots=True)
class _Branch:
    """Where keys have led so far: numbers of the paths that end at the next key, and the branches that go on."""

    path: Path
    ends: dict[str, int] = field(default_factory=dict)
    branches: dict[str, "_Branch"] = field(default_factory=dict)


def _flatten(value: Mapping[str, Any], at: _Branch, paths: list[Path], form: list[int], values: list[str]) -> None:
    """Add the number of the path to each value that is no object, and the JSON of the value, to the last two lists."""
    for name, item in value.items():
        # Of ten thousand records there are half a million values, nearly all of them of these kinds.
        kind = type(item)
        if kind is float and isfinite(item):
            text = repr(item)
        elif kind is str:
            text = encode_basestring_ascii(item)
        elif item is None:
            text = "null"
        elif kind is not list and kind is not int and isinstance(item, Mapping) and item:
            branch = at.branches.get(name)
            if branch is None:
                branch = at.branches[name] = _Branch((*at.path, str(name)))
            _flatten(item, branch, paths, form, values)
            continue
        else:
            text = plain_json.text(item)
        number = at.ends.get(name)
        if number is None:
            number = at.ends[name] = len(paths)
            paths.append((*at.path, str(name)))
        form.append(number)
        values.append(text if len(text) <= _LONGEST else plain_json.text({LEFT_OUT: f"{len(text):,} characters"}))


def _columns(form: Sequence[int], rows: Sequence[Sequence[str]]) -> str:
    seen: dict[tuple[str, ...], int] = {}
    texts = []
    for place, (path, column) in enumerate(zip(form, zip(*rows, strict=True), strict=True)):
        if column.count(column[0]) == len(column):
            kind, data = 0, column[0]
        elif column in seen:
            kind, data = 2, str(seen[column])
        else:
            kind, data = 1, f"[{','.join(column)}]"
            seen[column] = place
        texts.append(f"[{path},{kind},{data}]")
    return ",".join(texts)
