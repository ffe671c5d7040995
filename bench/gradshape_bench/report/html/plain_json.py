"""JSON in which no number changes when a browser reads it, and that can stand inside an HTML page."""

import json
import math
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii
from typing import Any

# Browsers read numbers as 64-bit floats, which hold whole numbers up to here.
_EXACT = 2**53 - 1
# A larger one is spelled in an object with this key alone.
INTEGER = "$integer"


def text(value: Any) -> str:
    """Return JSON for ``value``, without spaces.

    Raises:
        ValueError: a number is not finite, or a value is none that JSON has.

    >>> text({"seeds": [1, 2**60], "value": 0.5})
    '{"seeds":[1,{"$integer":"1152921504606846976"}],"value":0.5}'
    """
    # In the order of how often they come.
    if type(value) is float:
        if not math.isfinite(value):
            raise ValueError(f"{value!r} is no JSON number")
        return repr(value)
    if value is None:
        return "null"
    if type(value) is str:
        return encode_basestring_ascii(value)
    if type(value) is int:
        return repr(value) if -_EXACT <= value <= _EXACT else f'{{"{INTEGER}":"{value}"}}'
    if isinstance(value, list | tuple):
        items = [repr(one) if type(one) is float and math.isfinite(one) else text(one) for one in value]
        return f"[{','.join(items)}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{text(str(name))}:{text(item)}' for name, item in value.items())}}}"
    try:
        return json.dumps(value, allow_nan=False)
    except TypeError as error:
        raise ValueError(str(error)) from error


def inside_page(json_text: str) -> str:
    """Return JSON that means the same and in which nothing ends a script element, or is markup otherwise.

    >>> inside_page('"</script>"')
    '"\\\\u003c/script\\\\u003e"'
    """
    return json_text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
