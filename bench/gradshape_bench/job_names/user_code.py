"""Names of a user's code: of a class, a function or any other object, with all that it can reach."""

import copyreg
import reprlib
import secrets
import warnings
import weakref
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, fields
from enum import Enum
from functools import cache, cached_property, partial
from pathlib import Path
from types import (
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

from torch import nn

from gradshape import _digest
from gradshape_bench.job_names import source_files

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
        found = [walk.plain(value) for value in values]
        reached = source_files.reach(walk.modules, walk.is_of_user)
    except Exception as error:
        # Of objects that are nested too deeply, for example, or of an import system that fails.
        walk.unreliable.append(f"it cannot be looked through: {type(error).__name__}: {error}")
    if walk.unreliable:
        warn(f"{component} is computed in every session anew, without the cache: {'; '.join(walk.unreliable)}")
        return CodeName(secrets.token_hex(32), reliable=False)
    versions = [[package, source_files.version(package)] for package in sorted(walk.installed | reached.installed)]
    whole = [found, reached.files, versions, sorted(reached.missing)]
    return CodeName(_digest.text_name(whole), paths=reached.paths)


def functions_beside_fields(value: Any) -> list[object]:
    """Return the functions that an instance of a dataclass holds in other attributes than its fields."""
    beside = [
        (name, held)
        for name, held in getattr(value, "__dict__", {}).items()
        if isinstance(held, FunctionType | MethodType | partial)
    ]
    if not beside:
        return []
    kind, names = type(value), {field.name for field in fields(value)}
    # What a property remembers follows from the fields, and is there as soon as somebody has asked for it.
    return [
        held
        for name, held in beside
        if name not in names and not isinstance(getattr(kind, name, None), cached_property)
    ]


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
            [self.plain(held) for held in functions_beside_fields(value)],
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
        found = vars(value)
        return {
            "module": value.__name__,
            "read": {name: self.held(f"{value.__name__}.{name}", found[name]) for name in read if name in found},
        }

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
        yield [parameter.requires_grad for parameter in value.parameters(recurse=False)]
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
