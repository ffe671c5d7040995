"""Names of functions by their code."""

import dis
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

from gradshape import _digest


def code_name(fn: Callable[..., Any]) -> str:
    """Return the sha256 (hex) of a plain function and everything that it uses.

    This covers its module, qualified name, bytecode, constants and defaults, and what it closes over or reads from its
    module: plain values by content, functions in the same way, modules, classes and builtins by name. Other versions
    of Python may give the same function another name.

    Raises:
        TypeError: ``fn`` is no plain function, or uses a value that has no content name.

    >>> code_name(lambda norms: norms / 2) == code_name(lambda norms: norms / 3)
    False
    """
    if not isinstance(fn, FunctionType):
        raise TypeError(f"fn={fn!r}: expected a plain function, made by def or lambda")
    return _digest.name(_function(fn, (), fn))


def _function(fn: FunctionType, above: tuple[FunctionType, ...], whole: FunctionType) -> object:
    if fn in above:  # The function calls itself.
        return ["recursion", above.index(fn)]
    above = (*above, fn)

    def used(where: str, value: object) -> object:
        if isinstance(value, ModuleType):
            return ["module", value.__name__]
        if isinstance(value, type | BuiltinFunctionType):
            return ["named", value.__module__, value.__qualname__]
        if isinstance(value, FunctionType):
            return _function(value, above, whole)
        try:
            return _digest.plain(value)
        except TypeError as error:
            raise TypeError(
                f"fn={whole.__qualname__} uses {where}={value!r} of type {type(value).__name__}, which has no content "
                "name: use plain values, or a frozen dataclass with label and weights instead of a function"
            ) from error

    cells = zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True)
    reads = sorted({name for name in _globals(fn.__code__) if name in fn.__globals__})
    return [
        fn.__module__,
        fn.__qualname__,
        _code(fn.__code__),
        [used("a default", value) for value in fn.__defaults__ or ()],
        [[name, used(name, value)] for name, value in sorted((fn.__kwdefaults__ or {}).items())],
        [[name, used(name, cell.cell_contents)] for name, cell in cells],
        [[name, used(name, fn.__globals__[name])] for name in reads],
    ]


def _globals(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals(constant)


def _code(code: CodeType) -> object:
    constants = [_code(value) if isinstance(value, CodeType) else _constant(value) for value in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), list(code.co_varnames), list(code.co_freevars), constants]


def _constant(value: object) -> object:
    if isinstance(value, tuple):
        return ["tuple", *map(_constant, value)]
    if isinstance(value, frozenset):
        return ["set", *sorted(map(repr, value))]
    if isinstance(value, bytes | complex) or value is Ellipsis:
        return ["constant", repr(value)]
    return _digest.plain(value)
