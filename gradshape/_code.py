"""What functions are made of: their code as plain values, the names that they read, and whose they are."""

import dis
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from types import CodeType

_STANDARD = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
_WHERE = {"__file__", "__cached__", "__path__", "__spec__", "__loader__"}
# What reads an attribute whose name is a text.
_BY_TEXT = {"getattr", "attrgetter", "vars", "globals", "__dict__"}
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
    """Return the names of globals and attributes in ``code`` and in the functions and classes inside it, sorted.

    Left out are those that say where a module lies.
    Where attributes are asked for by a text, all texts are names.

    >>> names((lambda x: getattr(x, "y")).__code__)
    ('getattr', 'y')
    """
    inner = (name for constant in code.co_consts if isinstance(constant, CodeType) for name in names(constant))
    by_text = ".".join(texts(code)).split(".") if _BY_TEXT.intersection(code.co_names) else ()
    return tuple(sorted({*code.co_names, *inner, *by_text} - _WHERE))


@cache
def texts(code: CodeType) -> tuple[str, ...]:
    """Return the texts that ``code``, and what is defined inside it, holds as constants."""
    inner = (text for constant in code.co_consts if isinstance(constant, CodeType) for text in texts(constant))
    return tuple(sorted({*inner, *(constant for constant in code.co_consts if isinstance(constant, str))}))


@cache
def lines(code: CodeType) -> frozenset[int]:
    """Return the numbers of the lines of ``code``, and of what is defined inside it, from the first to the last."""
    inner = (line for constant in code.co_consts if isinstance(constant, CodeType) for line in lines(constant))
    found = {code.co_firstlineno, *inner, *(line for _, _, line in code.co_lines() if line is not None)}
    return frozenset(range(min(found), max(found) + 1))


@cache
def imported(code: CodeType, package: str) -> tuple[str, ...]:
    """Return the full names of the modules that import statements in ``code`` name, and in what is defined inside it.

    Args:
        code: is compiled.
        package: what relative imports in it start from.
    """
    return tuple(sorted(set(_imported(code, package))))


def _imported(code: CodeType, package: str) -> Iterator[str]:
    steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
    # How many dots stand before the name is put on the stack first, then what is imported from the module.
    for level, _, step in zip(steps, steps[1:], steps[2:], strict=False):
        if step.opname == "IMPORT_NAME":
            with suppress(ImportError):
                yield resolve_name("." * level.argval + step.argval, package)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _imported(constant, package)


@cache
def global_names(code: CodeType) -> tuple[str, ...]:
    """Return the names that ``code``, and what is defined inside it, looks up in its module, sorted.

    >>> global_names((lambda x: max(x, LIMIT.y)).__code__)
    ('LIMIT', 'max')
    """
    found = set(_looked_up(code))
    return tuple(sorted(found.union(texts(code) if "globals" in found else ()) - _WHERE))


def _looked_up(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _looked_up(constant)
