"""Packing the documents of records into tables, as most of what records of one section say is the same."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from gradshape_bench.report.html import plain_json

# A value whose JSON is longer stays out: the page is for reading, and the results file has everything.
_LONGEST = 20_000
LEFT_OUT = "left out of this page"
_NO_OBJECTS = frozenset({float, int, str, bool, list, tuple, type(None)})
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
    forms: defaultdict[tuple[int, ...], list[tuple[int, list[Any]]]] = defaultdict(list)
    paths: list[Path] = []
    for row, document in enumerate(documents):
        form: list[int] = []
        values: list[Any] = []
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


def _flatten(value: Mapping[str, Any], at: _Branch, paths: list[Path], form: list[int], values: list[Any]) -> None:
    """Add each value that is no object, and the number of the path to it, to the last two lists."""
    for name, item in value.items():
        # Of ten thousand records there are half a million values, and nearly all of them are of these kinds.
        if type(item) not in _NO_OBJECTS and isinstance(item, Mapping) and item:
            branch = at.branches.get(name)
            if branch is None:
                branch = at.branches[name] = _Branch((*at.path, str(name)))
            _flatten(item, branch, paths, form, values)
            continue
        number = at.ends.get(name)
        if number is None:
            number = at.ends[name] = len(paths)
            paths.append((*at.path, str(name)))
        form.append(number)
        values.append(item)


def _columns(form: Sequence[int], rows: Sequence[Sequence[Any]]) -> str:
    seen: dict[tuple[str, ...], int] = {}
    texts = []
    for place, (path, values) in enumerate(zip(form, zip(*rows, strict=True), strict=True)):
        column = _texts(values)
        if column.count(column[0]) == len(column):
            kind, data = 0, column[0]
        elif column in seen:
            kind, data = 2, str(seen[column])
        else:
            kind, data = 1, f"[{','.join(column)}]"
            seen[column] = place
        texts.append(f"[{path},{kind},{data}]")
    return ",".join(texts)


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    """Return the JSON of each value, as :func:`plain_json.text` does, but of columns of one kind at once."""
    if set(map(type, values)) == {float} and all(map(isfinite, values)):
        return tuple(map(repr, values))
    if all(value is values[0] for value in values):
        return (_shortened(plain_json.text(values[0])),) * len(values)
    return tuple(_shortened(plain_json.text(value)) for value in values)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else plain_json.text({LEFT_OUT: f"{len(text):,} characters"})
