"""Text from anywhere, such as the message of an error, as text that can be stored, sent and shown."""

import re
from typing import Any

# Characters of a message that are kept: more than a reader reads, and less than any pipe or page minds.
LONGEST = 2_000
# Characters of a text in a report that are kept, which may be the captured output of a test.
_LONGEST_SENT = 10_000_000
# Control characters, what some readers take for a line end, and halves of surrogate pairs. Line feeds and tabs stay.
_ESCAPED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def plain(text: str, *, longest: int = LONGEST) -> str:
    r"""Return ``text`` with everything escaped that cannot be encoded or moves a cursor, and cut if it is long.

    Args:
        text: any text, of any length.
        longest: how many of its characters are kept, at least 0; how many are left out is said at the end.

    >>> print(plain("red \x1b[31m, and half a pair \ud800"))
    red \x1b[31m, and half a pair \ud800
    >>> plain("abcdef", longest=3)
    'abc... (3 characters left out)'
    """
    shown = _ESCAPED.sub(_escape, text[:longest])
    left_out = len(text) - longest
    return f"{shown}... ({left_out:,} characters left out)" if left_out > 0 else shown


def message_of(error: BaseException) -> str:
    """Return the kind of an error and what it says, as plain text, even if it cannot say anything.

    >>> message_of(ValueError("k=0: expected an integer of at least 1"))
    'ValueError: k=0: expected an integer of at least 1'
    """
    kind = type(error).__name__
    try:
        says = str(error)
    except Exception as fault:
        says = f"its message cannot be shown: {type(fault).__name__}"
    return plain(f"{kind}: {says}" if says else kind)


def sendable(value: Any) -> Any:
    """Return a value of lists, dictionaries and texts whose texts can all be encoded, and none is endless."""
    if isinstance(value, str):
        text = value if len(value) <= _LONGEST_SENT else plain(value, longest=_LONGEST_SENT)
        return text.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {sendable(key): sendable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(sendable, value))
    return value


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
