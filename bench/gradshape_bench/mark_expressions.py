"""What ``-m`` asks of cases, such as ``case(dataset='digits')``, and what of that no case has."""

import re
from ast import literal_eval
from collections.abc import Iterable, Iterator, Mapping

from gradshape import _validate

LABELS = ("dataset", "model", "protocol", "attack", "defense")
_CASE = re.compile(r"\bcase\(((?:[^()'\"]|'[^']*'|\"[^\"]*\")*)\)")
_ARGUMENT = re.compile(r"(\w+)\s*=\s*('[^']*'|\"[^\"]*\"|-?\d+|True|False|None)?")


def check_keywords(expression: str) -> None:
    """Check that cases have what ``case(...)`` in an expression for ``-m`` names.

    Raises:
        ValueError: they do not; near matches are listed.

    >>> check_keywords("not case(data='digits')")
    Traceback (most recent call last):
    ValueError: unknown label of cases 'data': did you mean 'dataset' or 'attack'? known: attack, dataset, ...
    """
    for name, _ in _asked(expression):
        if name not in LABELS:
            raise _validate.unknown("label of cases", name, LABELS)


def unmatched(expression: str, cases: Iterable[Mapping[str, object]]) -> list[str]:
    """Return a sentence for each value in an expression that none of the cases has.

    Args:
        expression: for ``-m``, with known keywords.
        cases: the labels of each.

    >>> unmatched("case(dataset='digit')", [{"dataset": "digits"}])
    ["no collected case has dataset='digit': did you mean 'digits'?"]
    """
    labels = list(cases)
    found = []
    for name, value in dict.fromkeys(_asked(expression)):
        known = {repr(str(each[name])): str(each[name]) for each in labels}
        if value and value not in known:
            near = _validate.near(str(literal_eval(value)), known.values())
            found.append(f"no collected case has {name}={value}{': did you mean ' + near + '?' if near else ''}")
    return found


def _asked(expression: str) -> Iterator[tuple[str, str]]:
    """Give the arguments of each ``case(...)``, texts as Python writes them, and numbers and the like as they stand."""
    for call in _CASE.finditer(expression):
        for name, value in _ARGUMENT.findall(call[1]):
            yield name, repr(value[1:-1]) if value[:1] in ("'", '"') else value
