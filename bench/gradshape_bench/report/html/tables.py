"""Packing the documents of records into tables, as most of what records of one section say is the same."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
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
    paths: dict[Path, int] = {}
    forms: defaultdict[tuple[int, ...], list[tuple[int, list[str]]]] = defaultdict(list)
    for row, document in enumerate(documents):
        form, values = [], []
        for path, value in _leaves(document, ()):
            form.append(paths.setdefault(path, len(paths)))
            values.append(_shortened(plain_json.text(value)))
        forms[tuple(form)].append((row, values))
    tables = [
        f'{{"rows":{plain_json.text([row for row, _ in found])},"columns":[{_columns(form, found)}]}}'
        for form, found in forms.items()
    ]
    return f'{{"paths":{plain_json.text(list(paths))},"tables":[{",".join(tables)}]}}'


def _columns(form: Sequence[int], found: Sequence[tuple[int, Sequence[str]]]) -> str:
    seen: dict[tuple[str, ...], int] = {}
    texts = []
    for place, path in enumerate(form):
        column = tuple(values[place] for _, values in found)
        if len(set(column)) == 1:
            kind, data = 0, column[0]
        elif column in seen:
            kind, data = 2, str(seen[column])
        else:
            kind, data = 1, f"[{','.join(column)}]"
            seen[column] = place
        texts.append(f"[{path},{kind},{data}]")
    return ",".join(texts)


def _leaves(value: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Any]]:
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _leaves(item, (*path, str(name)))
        else:
            yield (*path, str(name)), item


def _shortened(value: str) -> str:
    return value if len(value) <= _LONGEST else plain_json.text({LEFT_OUT: f"{len(value):,} characters"})
