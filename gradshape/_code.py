"""What functions are made of: their code as plain values, the names that they read, and whose they are."""

import dis
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType

_STANDARD = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
_INSTALLED = {"site-packages", "dist-packages"}


@cache
def is_standard(path: Path) -> bool:
    """Say whether a file is part of Python."""
    return not is_installed(path) and not _STANDARD.isdisjoint(path.resolve().parents)


def is_installed(path: Path) -> bool:
    """Say whether a file is part of an installed package, and not of a folder that somebody works in."""
    return not _INSTALLED.isdisjoint(path.parts)


@cache
def content(code: CodeType) -> list[object]:
    """Return everything that compiled code does, as nested lists of text and numbers.

    Where it was written, in which file and line, is left out. Other versions of Python compile the same text to
    other code.

    >>> content((lambda x: x / 2).__code__) == content((lambda x: x / 3).__code__)
    False
    """
    return [
        code.co_code.hex(),
        code.co_exceptiontable.hex(),
        [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags],
        *map(list, (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)),
        [_constant(value) for value in code.co_consts],
    ]


def _constant(value: object) -> object:
    if isinstance(value, CodeType):
        return content(value)
    if isinstance(value, tuple):
        return ["tuple", *map(_constant, value)]
    if isinstance(value, frozenset):
        return ["set", *sorted(repr(_constant(item)) for item in value)]
    return [type(value).__name__, repr(value)]


@cache
def names(code: CodeType) -> tuple[str, ...]:
    """Return the names of globals and attributes in ``code`` and in the functions and classes inside it, sorted."""
    inner = (name for constant in code.co_consts if isinstance(constant, CodeType) for name in names(constant))
    return tuple(sorted({*code.co_names, *inner}))


@cache
def global_names(code: CodeType) -> tuple[str, ...]:
    """Return the names that ``code``, and what is defined inside it, looks up in its module, sorted.

    >>> global_names((lambda x: max(x, LIMIT.y)).__code__)
    ('LIMIT', 'max')
    """
    return tuple(sorted(set(_looked_up(code))))


def _looked_up(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _looked_up(constant)
