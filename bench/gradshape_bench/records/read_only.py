"""Lists and mappings that cannot be changed, for records that are handed out to tests."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NoReturn

from gradshape_bench.records.record import Record


def read_only(record: Record) -> Record:
    """Return the same record, of which nothing can be changed; what it holds is equal to what it was.

    >>> made = _ReadOnlyDict({"rates": _ReadOnlyList([0.5])})
    >>> made == {"rates": [0.5]}
    True
    >>> made["rates"].append(1.0)
    Traceback (most recent call last):
    TypeError: a record cannot be changed: change a copy of this list, such as list(...)
    """
    return replace(
        record,
        metrics=_frozen(record.metrics),
        details=_frozen(record.details),
        environment=_frozen(record.environment),
        costs=_frozen(record.costs),
    )


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _ReadOnlyDict({name: _frozen(item) for name, item in value.items()})
    return _ReadOnlyList(map(_frozen, value)) if isinstance(value, list) else value


# They are lists and dictionaries, so that whoever reads a record need not know of them; copies of them are plain.


class _ReadOnlyList(list[Any]):
    def _refuse(self, *arguments: object, **named: object) -> NoReturn:
        raise TypeError("a record cannot be changed: change a copy of this list, such as list(...)")

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[Any]]]:
        return list, (list(self),)


class _ReadOnlyDict(dict[str, Any]):
    def _refuse(self, *arguments: object, **named: object) -> NoReturn:
        raise TypeError("a record cannot be changed: change a copy of this mapping, such as dict(...)")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)
