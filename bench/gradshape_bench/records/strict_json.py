"""Reading JSON that somebody may have edited: what other programs would take in several ways is an error."""

import json
import math
from collections.abc import Sequence
from typing import Any

# Lists and objects within each other, at most: pages and comparisons go through values by recursion.
_DEEPEST = 200
# No number in a record needs more digits; an integer of more would not fit a float.
_DIGITS = 300
# Digits without an exponent of three digits that are too few for a number that no float holds.
_FEW = 150


def decode(text: str) -> Any:
    """Return what ``text`` says.

    Raises:
        ValueError: it is no JSON, says a name twice, or holds a number that is not finite or has too many digits, half
            of a surrogate pair, or values that lie too deep within each other. No other error comes of any text.
    """
    try:
        document = (_STRICT if _may_be_too_large(text) else _FAST).decode(text)
        if text.count("[") + text.count("{") > _DEEPEST:
            _check_depth(document)
        if not text.isascii() or ("\\u" in text and ("\\ud" in text or "\\uD" in text)):
            _check_characters(document)
    except (RecursionError, MemoryError) as error:
        raise ValueError(f"no usable JSON: {type(error).__name__}: {error}") from error
    return document


def _may_be_too_large(text: str) -> bool:
    """Return whether a number in ``text`` might be too large for a float: where none is, a faster decoder is as strict.

    Numbers are looked for in the shape of the text, in which every digit or point is a 0, as that takes far less time
    than to have each of them converted by a function.
    """
    shape = text.encode("ascii", "replace").translate(_SHAPE)
    if b"0" * _FEW in shape:
        return True
    for exponent in (b"0e000", b"0e+000"):
        place = shape.find(exponent)
        while place >= 0:
            before = shape[max(0, place - _FEW) : place + 1].rstrip(b"0").removesuffix(b"-")
            # Not so inside a text, such as a hexadecimal digest.
            if before[-1:] in (b"", b":", b",", b"[", b" ", b"\t", b"\n", b"\r"):
                return True
            place = shape.find(exponent, place + 1)
    return False


def _check_depth(value: Any) -> None:
    """Raise ``ValueError`` if lists and objects lie too deep within each other; without recursion."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _within(outer)]
    if level:
        raise ValueError(f"values lie more than {_DEEPEST} deep within each other")


def _within(value: Any) -> Sequence[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else ()


def _check_characters(document: Any) -> None:
    """Raise ``ValueError`` for text that cannot be written to a page: JSON can spell half a surrogate pair."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"half of a surrogate pair: {error.object[error.start]!r}") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it says {double!r} twice")
    return document


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:40]} is too large for a number")
    return value


def _whole(number: str) -> int:
    if len(number) > _DIGITS:
        raise ValueError(f"{number[:40]}... has {len(number)} digits")
    return int(number)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON number")


_SHAPE = bytes.maketrans(b"123456789.E", b"0000000000e")
_STRICT = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite, parse_int=_whole, object_pairs_hook=_distinct)
_FAST = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_distinct)
