"""Checks of a caller's arguments: every error names the parameter, its value and what was expected."""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from numbers import Real
from typing import TypeVar

E = TypeVar("E", bound=Enum)


def unknown(kind: str, name: str, known: Iterable[str]) -> ValueError:
    """Return a ``ValueError`` for a name that is not among ``known``, which lists the nearest ones first."""
    names = sorted(known)
    alike = near(name, names)
    hint = f"did you mean {alike}? " if alike else ""
    return ValueError(f"unknown {kind} {name!r}: {hint}known: {', '.join(names)}")


def near(name: str, known: Iterable[str]) -> str:
    """Return the names among ``known`` that are most like ``name``, whatever the case of letters, joined by ``or``.

    >>> near("Paper", ["smoke", "paper"])
    "'paper'"
    """
    spelled = {one.lower(): one for one in sorted(known, reverse=True)}
    return " or ".join(repr(spelled[one]) for one in difflib.get_close_matches(name.lower(), spelled, n=3, cutoff=0.5))


def member(kind: type[Enum], **values: object) -> None:
    """Raise ``ValueError`` unless every value is a member of ``kind``."""
    for name, value in values.items():
        if not isinstance(value, kind):
            raise ValueError(f"{name}={value!r}: expected one of {', '.join(map(str, kind))}")


def member_called(name: str, kind: type[E], value: str) -> E:
    """Return the member of ``kind`` with this value; raise ``ValueError`` with near matches if there is none."""
    members: dict[str, E] = {one.value: one for one in kind}
    if value not in members:
        raise unknown(name, value, members)
    return members[value]


def number(name: str, value: object, expected: str) -> float:
    """Return ``value`` if it is a real number; raise ``ValueError`` if it is text, a truth value or anything else."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name}={value!r}: expected {expected}, got {_a_kind(value)}")
    return float(value)


def positive(**values: float) -> None:
    """Raise ``ValueError`` unless every value is finite and greater than 0."""
    _check(values, "a finite number greater than 0", lambda value: math.isfinite(value) and value > 0)


def above_zero(**values: float) -> None:
    """Raise ``ValueError`` unless every value is greater than 0 (infinity is allowed)."""
    _check(values, "a number greater than 0", lambda value: value > 0)


def non_negative(**values: float) -> None:
    """Raise ``ValueError`` unless every value is at least 0 (infinity is allowed)."""
    _check(values, "a number of at least 0", lambda value: value >= 0)


def finite_non_negative(**values: float) -> None:
    """Raise ``ValueError`` unless every value is finite and at least 0."""
    _check(values, "a finite number of at least 0", lambda value: math.isfinite(value) and value >= 0)


def fraction(**values: float) -> None:
    """Raise ``ValueError`` unless every value lies in [0, 1]; it asks back what looks like a number of percent."""
    _check(values, "a number in [0, 1]", lambda value: 0 <= value <= 1, percent=True)


def positive_fraction(**values: float) -> None:
    """Raise ``ValueError`` unless every value lies in (0, 1]; it asks back what looks like a number of percent."""
    _check(values, "a number in (0, 1]", lambda value: 0 < value <= 1, percent=True)


def fraction_below_one(**values: float) -> None:
    """Raise ``ValueError`` unless every value lies in [0, 1); it asks back what looks like a number of percent."""
    _check(values, "a number in [0, 1)", lambda value: 0 <= value < 1, percent=True)


def open_fraction(**values: float) -> None:
    """Raise ``ValueError`` unless every value lies in (0, 1); it asks back what looks like a number of percent."""
    _check(values, "a number in (0, 1)", lambda value: 0 < value < 1, percent=True)


def positive_int(**values: int) -> None:
    """Raise ``ValueError`` unless every value is an integer of at least 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r}: expected an integer of at least 1")


def _check(
    values: Mapping[str, float], expected: str, holds: Callable[[float], bool], *, percent: bool = False
) -> None:
    for name, given in values.items():
        value = number(name, given, expected)
        if not holds(value):
            asked = f"; did you mean {value / 100:g}, which is {value:g} %?" if percent and 1 < value <= 100 else ""
            raise ValueError(f"{name}={given!r}: expected {expected}{asked}")


def _a_kind(value: object) -> str:
    if isinstance(value, bool):
        return "a truth value"
    return "text" if isinstance(value, str) else f"a {type(value).__name__}"
