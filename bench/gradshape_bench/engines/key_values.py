"""Options of an engine that are given as ``KEY=VALUE``."""

from collections.abc import Iterable, Mapping, Sequence

from gradshape import _validate


def key_values(pairs: Sequence[str], known: Iterable[str]) -> Mapping[str, str]:
    """Return the values by key; of one that stands twice, the later, which takes the place of a project's setting.

    Args:
        pairs: ``KEY=VALUE`` each.
        known: the keys that there are.

    Raises:
        ValueError: one has another form, or an unknown key, for which near matches are listed.

    >>> key_values(["time=60", "partition=gpu", "time=90"], ["time", "partition"])
    {'time': '90', 'partition': 'gpu'}
    """
    names = list(known)
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not value:
            raise ValueError(f"{pair!r}: expected KEY=VALUE, such as {names[0]}=...")
        if key not in names:
            raise _validate.unknown("key", key, names)
        found[key] = value
    return found


def number(key: str, value: str, *, least: float, most: float, whole: bool) -> float:
    """Return a value as a number.

    Raises:
        ValueError: it is none in the range, or no whole one where it has to be.
    """
    try:
        parsed = float(value)
    except ValueError:
        parsed = float("nan")
    if not least <= parsed <= most or (whole and parsed != int(parsed)):
        kind = "whole number" if whole else "number"
        raise ValueError(f"{key}={value}: expected a {kind} from {least:g} to {most:g}")
    return parsed
