"""Names of a user's code: of a class, a function or any other object, with all that it can reach."""

import copyreg
import importlib
import re
import reprlib
import secrets
import sys
import warnings
import weakref
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache, cached_property
from importlib.util import resolve_name
from pathlib import Path
from types import (
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

from torch import nn

from gradshape import _code, _digest
from gradshape_bench.job_names import source_files

# A function that has one of these names, or holds one of these functions, may import what its texts name.
_IMPORTERS = {"import_module", "__import__", "modules", "importorskip"}
_IMPORTING = (importlib.import_module, __import__)
_CACHED = type(cache(len))
_brief = reprlib.Repr()
_brief.maxother = 100
_DESCRIPTORS = (GetSetDescriptorType, MemberDescriptorType, MethodDescriptorType, WrapperDescriptorType)


@dataclass(frozen=True)
class CodeName:
    """The name of some code.

    Attributes:
        name: differs if the code does.
        reliable: whether the same code has this name in every session.
        paths: files that the name depends on.
    """

    name: str
    reliable: bool = True
    paths: frozenset[Path] = frozenset()


def code_name(component: str, *values: object, own: Collection[str] = ()) -> CodeName:
    """Name some values by all code and all values that they reach.

    If something that they reach has no reliable name, such as a lock or an open file, the name is a random one, and a
    warning says so.

    Args:
        component: what a warning calls the values.
        values: classes, functions, or objects of any other type.
        own: installed packages whose sources count, as if they were the user's.
    """
    walk = _Walk(own)
    try:
        found = [*(walk.plain(value) for value in values), walk.in_held_modules()]
        reached = source_files.reach(walk.modules, walk.is_of_user)
        walk.unreliable += walk.computed(reached)
    except Exception as error:
        # Of objects that are nested too deeply, for example, or of an import system that fails.
        walk.unreliable.append(f"it cannot be looked through: {type(error).__name__}: {error}")
    if walk.unreliable:
        warn(f"{component} is computed in every session anew, without the cache: {'; '.join(walk.unreliable)}")
        return CodeName(secrets.token_hex(32), reliable=False)
    versions = [[package, source_files.version(package)] for package in sorted(walk.installed | reached.installed)]
    whole = [found, reached.files, versions, sorted(reached.missing)]
    return CodeName(_digest.text_name(whole), paths=reached.paths)


def warn(message: str) -> None:
    """Warn of what makes no result wrong: also where warnings are errors, this is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(message, stacklevel=2)


class _Walk(_digest.Naming):
    """A naming that looks into the user's classes and modules, and into objects of all types."""

    def __init__(self, own: Collection[str]) -> None:
        super().__init__()
        self.modules, self.installed, self.unreliable = set[str](), set[str](), list[str]()
        self._own = own
        # Of which modules which names were looked up.
        self._read = set[tuple[str, tuple[str, ...]]]()
        # Lines of functions, by their files.
        self._lines = set[tuple[str, int]]()
        # What names are looked up at all, and the modules that are held by objects.
        self._names = set[str]()
        self._held: dict[str, ModuleType] = {}
        self._users: dict[str, bool] = {}

    def is_of_user(self, module: str) -> bool:
        """Say whether the source of a module counts, not its version."""
        if module not in self._users:
            self._users[module] = source_files.is_of_user(module, own=self._own)
        return self._users[module]

    def _looks_into(self, module: str | None) -> bool:
        if module is None:
            return True
        if self.is_of_user(module):
            self.modules.add(module)
            return True
        origin = source_files.find(module)
        if origin is not None and origin.installed:
            self.installed.add(module.partition(".")[0])
        return False

    def plain(self, value: object) -> object:
        """See :meth:`gradshape._digest.Naming.plain`; whatever cannot be named is noted."""
        depth = len(self._path)
        try:
            return super().plain(value)
        except RecursionError:
            raise
        except Exception as error:
            del self._path[depth:]
            return self._nameless(value, error)

    def member(self, value: Enum) -> object:
        return [super().member(value), self.type(type(value))]

    def instance(self, value: Any) -> object:
        return self.again(value) or [
            super().instance(value),
            self.type(type(value)),
        ]

    def type(self, value: type) -> object:
        if not isinstance(value.__module__, str):  # It was made in C.
            return {"class": value.__qualname__}
        if not self._looks_into(value.__module__):
            return super().type(value)
        return self.again(value) or {
            **{"class": _digest.class_name(value), "of": self.plain(type(value))},
            "bases": [self.plain(base) for base in value.__bases__],
            "members": {
                name: self.held(f"{value.__qualname__}.{name}", member)
                for name, member in vars(value).items()
                if isinstance(member, FunctionType) or not (name.startswith("__") or name == "_abc_impl")
            },
        }

    def module(self, value: ModuleType, read: Iterable[str]) -> object:
        if not self._looks_into(value.__name__):
            return super().module(value, read)
        read = tuple(read)
        if not read:
            self._held[value.__name__] = value
        if (value.__name__, read) in self._read:
            return {"module": value.__name__, "again": True}
        self._read.add((value.__name__, read))
        found = vars(value)

        def used(name: str) -> object:
            # Of a module in a module those names may be read, too, that stand behind it.
            held = found[name]
            return (
                self.module(held, read) if isinstance(held, ModuleType) else self.held(f"{value.__name__}.{name}", held)
            )

        return {"module": value.__name__, "read": {name: used(name) for name in read if name in found}}

    def function(self, fn: FunctionType) -> object:
        named = super().function(fn)
        if self.by_name(fn):
            return named
        read = _code.names(fn.__code__)
        self._names.update(read)
        self._lines.update((fn.__code__.co_filename, line) for line in _code.lines(fn.__code__))
        loaded = map(sys.modules.get, self._imported(fn))
        return [named, [self.module(module, read) for module in loaded if isinstance(module, ModuleType)]]

    def _imported(self, fn: FunctionType) -> list[str]:
        """Return the modules of the user's that a function imports when it is called, and the packages above them."""
        package = str(fn.__globals__.get("__package__") or "")
        found = set(_code.imported(fn.__code__, package))
        held = {id(fn.__globals__.get(name)) for name in _code.global_names(fn.__code__)}
        if _IMPORTERS.intersection(_code.names(fn.__code__)) or held.intersection(map(id, _IMPORTING)):
            found.update(name for text in _code.texts(fn.__code__) if (name := _module_called(text, package)))
        above = {name[: dot.start()] for name in found for dot in re.finditer(r"\.", name)}
        users = sorted(name for name in found | above if self.is_of_user(name))
        self.modules.update(users)
        return users

    def in_held_modules(self) -> object:
        """Name what is read of the modules that objects hold, as far as it is known: any function may read it."""
        named = list[object]()
        known = -1
        while known < (known := len(self._names) + len(self._held)):
            read = tuple(sorted(self._names))
            named += [self.module(module, read) for module in list(self._held.values())]
        return named

    def computed(self, reached: source_files.Reach) -> list[str]:
        """Say what the modules do that no text tells, if it was done or may be.

        What stands in functions that nobody reaches is not done, unless these belong to a module that is imported
        later, into which nobody could look.
        """
        return [
            f"no text tells what {path.name} does in line {found.line}: {found.text}"
            for module, path, found in sorted(reached.computed, key=lambda entry: (entry[0], entry[2].line))
            if not found.deferred or module not in sys.modules or (str(path), found.line) in self._lines
        ]

    def by_name(self, fn: FunctionType) -> bool:
        return not self._looks_into(fn.__module__)

    def other(self, value: object) -> object:
        if again := self.again(value):
            return again
        return {"object": self.type(type(value)), "of": [self.plain(part) for part in _parts(value)]}

    def _nameless(self, value: object, error: Exception) -> object:
        where = f"{self._path[-1]}=" if self._path else ""
        reason = f"{where}{_brief.repr(value)} of type {type(value).__name__} has no reliable name"
        if reason not in self.unreliable:
            self.unreliable.append(reason)
        return {"nameless": str(type(error))}


def _module_called(text: str, package: str) -> str | None:
    """Return the full name of the module that a text names, if it names one."""
    if not all(part.isidentifier() for part in text.lstrip(".").split(".")):
        return None
    try:
        name = resolve_name(text, package)
    except ImportError:
        return None
    return None if source_files.find(name) is None else name


def _parts(value: Any) -> Iterator[object]:
    """Yield what an object is made of.

    Raises:
        Exception: that cannot be told.
    """
    if isinstance(value, _DESCRIPTORS):
        yield value.__qualname__
    elif isinstance(value, weakref.ref):
        yield value()
    elif isinstance(value, staticmethod | classmethod):
        yield value.__func__
    elif isinstance(value, property):
        yield from (value.fget, value.fset, value.fdel)
    elif isinstance(value, cached_property):
        yield value.func
    elif isinstance(value, _CACHED):
        yield value.__wrapped__
    elif isinstance(value, nn.Module):
        for name, held in vars(value).items():
            # The keys of hooks count all hooks of this process.
            yield name, list(held.values()) if "_hooks" in name and isinstance(held, dict) else held
    else:
        reducer = copyreg.dispatch_table.get(type(value))
        made = value.__reduce_ex__(2) if reducer is None else reducer(value)
        if isinstance(made, str):
            yield made
        else:
            function, arguments, state, items, pairs = (*made, *[None] * 3)[:5]
            yield from (function, arguments, state, list(items or ()), list(pairs or ()))
