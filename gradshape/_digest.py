"""Names of contents: sha256 over tensors, and over values made of dataclasses."""

import dataclasses
import hashlib
import json
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from enum import Enum
from functools import cache, cached_property, partial
from pathlib import Path
from types import (
    BuiltinFunctionType,
    FunctionType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradshape import _code

_OWN = ("gradshape", "gradshape_bench")


def of(*tensors: Tensor) -> str:
    """Return the sha256 (hex) of the tensors' dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for tensor in tensors:
        array, dtype = _array(tensor.detach().cpu())
        digest.update(f"{dtype}{tuple(tensor.shape)}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _array(tensor: Tensor) -> tuple[Any, str]:
    if tensor.dtype is torch.bfloat16:  # NumPy has no such numbers.
        return np.ascontiguousarray(tensor.view(torch.int16).numpy()), "bfloat16"
    array = np.ascontiguousarray(tensor.numpy())
    return array, str(array.dtype)


def class_name(kind: type) -> str:
    """Return the name that a class has in names of contents.

    That is its module and qualified name. Of the library and the harness it is the package and the qualified name, so
    that a class may move to another module of its package.

    >>> class_name(Naming), class_name(OrderedDict)
    ('gradshape.Naming', 'collections.OrderedDict')
    """
    package = kind.__module__.partition(".")[0]
    return f"{package if package in _OWN else kind.__module__}.{kind.__qualname__}"


class Naming:
    """Turns a value, and whatever is nested in it, into JSON types that are equal for equal contents only.

    Functions are named by their module, name, code and defaults, and by what they close over or read from their
    module. Modules, classes, builtins and the functions of Python, of installed packages and of the library are named
    by their names; a subclass may look into others of these.
    """

    def __init__(self) -> None:
        # What was met, by identity, and its number; it is held so that nothing else is given its identity.
        self._met: dict[int, tuple[int, object]] = {}
        # What leads to the value that is being named, in words.
        self._path: list[str] = []
        # The instances of dataclasses that are being named, which may hold each other.
        self._within: list[object] = []

    def plain(self, value: object) -> object:
        """Turn ``value`` into JSON types.

        Raises:
            TypeError: a part of it is of another type, so that it could not be named reliably.
        """
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return value
        if isinstance(value, float) and kind is float:
            return {"float": value.hex()}
        if isinstance(value, tuple) and kind is tuple:
            return [self.plain(item) for item in value]
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, Enum):
            return self.member(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self.instance(value)
        if isinstance(value, type):
            return self.type(value)
        if isinstance(value, FunctionType):
            return self.again(value) or self.function(value)
        if isinstance(value, ModuleType):
            return self.module(value, ())
        return self._number(value) or self._collection(value) or self._callable(value) or self.other(value)

    def member(self, value: Enum) -> object:
        """Name a member of an enumeration."""
        return {"enum": [class_name(type(value)), value.name or repr(value.value)]}

    def instance(self, value: Any) -> object:
        """Name an instance of a dataclass by its fields, and by those of its other attributes that have names.

        A field has to have a name. Other attributes need not: a component may keep a lock in one.
        """
        if any(value is outer for outer in self._within):
            return {"within": next(depth for depth, outer in enumerate(self._within) if outer is value)}
        kind = type(value)
        names = [field.name for field in dataclasses.fields(value)]
        self._within.append(value)
        try:
            held = {name: self.held(f"{kind.__qualname__}.{name}", getattr(value, name)) for name in names}
            beside = {
                name: self._if_named(f"{kind.__qualname__}.{name}", other)
                for name, other in beside_fields(value).items()
            }
        finally:
            self._within.pop()
        return {"type": class_name(kind), "fields": held, **({"beside": beside} if beside else {})}

    def _if_named(self, where: str, value: object) -> object:
        depth = len(self._path)
        try:
            return self.held(where, value)
        except Exception:
            del self._path[depth:]
            return {"nameless": class_name(type(value))}

    def type(self, value: type) -> object:
        """Name a class."""
        return {"class": class_name(value)}

    def module(self, value: ModuleType, read: Iterable[str]) -> object:
        """Name a module, of which the names ``read`` may be used."""
        return {"module": value.__name__}

    def function(self, fn: FunctionType) -> object:
        """Name a function that is met for the first time."""
        if self.by_name(fn) and _is_importable(fn):
            return {"function": [fn.__module__, fn.__qualname__]}
        read = _code.names(fn.__code__)

        def used(where: str, value: object) -> object:
            if isinstance(value, ModuleType):
                return self.module(value, read)
            return self.held(f"{fn.__qualname__} uses {where}", value)

        known = {name: fn.__globals__[name] for name in _code.global_names(fn.__code__) if name in fn.__globals__}
        return {
            "function": [fn.__module__, fn.__qualname__],
            "code": _code.content(fn.__code__),
            "defaults": [used("a default", value) for value in fn.__defaults__ or ()],
            "keywords": {name: used(name, value) for name, value in sorted((fn.__kwdefaults__ or {}).items())},
            "cells": {name: used(name, value) for name, value in _closed_over(fn)},
            "globals": {name: used(name, value) for name, value in known.items()},
        }

    def by_name(self, fn: FunctionType) -> bool:
        """Say whether a function need not be looked into, unless it was made when the program ran."""
        path = Path(fn.__code__.co_filename)
        top = (fn.__module__ or "").partition(".")[0]
        return top in _OWN or _code.is_installed(path) or _code.is_standard(path)

    def other(self, value: object) -> object:
        """Name a value of any other type.

        Raises:
            TypeError: it cannot be named.
        """
        where = f"{self._path[-1]}=" if self._path else ""
        raise TypeError(
            f"{where}{value!r} of type {type(value).__name__} has no content name: "
            "use frozen dataclasses of plain values"
        )

    def held(self, where: str, value: object) -> object:
        """Name a value that is held by another one, which ``where`` names for errors."""
        self._path.append(where)
        named = self.plain(value)
        self._path.pop()
        return named

    def again(self, value: object) -> object:
        """Say when ``value`` was met before; ``None`` if it is new."""
        if id(value) in self._met:
            return {"again": self._met[id(value)][0]}
        self._met[id(value)] = len(self._met), value
        return None

    def _number(self, value: object) -> object:
        kind = type(value)
        if isinstance(value, complex) and kind is complex:
            return {"complex": [value.real.hex(), value.imag.hex()]}
        if isinstance(value, bytes) and kind is bytes:
            return {"bytes": value.hex()}
        if isinstance(value, np.generic) and kind is value.dtype.type and not value.dtype.hasobject:
            return {"array": [str(value.dtype), "scalar", hashlib.sha256(value.tobytes()).hexdigest()]}
        if isinstance(value, np.ndarray) and not value.dtype.hasobject:
            return self._array(value)
        return None

    def _array(self, value: np.ndarray[Any, Any]) -> object:
        kind, content = type(value), np.ndarray.tobytes(value.view(np.ndarray))
        named: dict[str, object] = {
            "array": [str(value.dtype), list(value.shape), hashlib.sha256(content).hexdigest()],
        }
        if isinstance(value, np.ma.MaskedArray):
            mask = np.ma.getmask(value)
            named["masked"] = [self.plain(part) for part in (mask, np.asarray(value.fill_value), value.hardmask)]
        if kind is not np.ndarray:
            named["type"] = self.type(kind)
        # What those of NumPy hold beside follows from the rest.
        if kind.__module__.partition(".")[0] != "numpy":
            named["beside"] = self.plain(dict(vars(value)))
        return named

    def _tensor(self, value: Tensor) -> object:
        kind, beside = type(value), dict(vars(value))
        named: dict[str, object] = {"tensor": of(value)}
        if value.requires_grad:
            named["requires_grad"] = True
        if kind is not Tensor:
            named["type"] = self.type(kind)
        if beside:
            named["beside"] = self.plain(beside)
        return named

    def _collection(self, value: object) -> object:
        kind = type(value)
        if isinstance(value, list) and kind is list:
            return {"list": [self.plain(item) for item in value]}
        if isinstance(value, set | frozenset) and kind in (set, frozenset):
            return {kind.__name__: [self.plain(item) for item in _ordered(value)]}
        if isinstance(value, Mapping) and kind in (dict, OrderedDict, MappingProxyType):
            # Whoever goes through it sees its order.
            return {kind.__name__: [[self.plain(key), self.plain(held)] for key, held in value.items()]}
        if isinstance(value, torch.Size):
            return {"size": [int(item) for item in value]}
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            return {"tuple": [class_name(kind), *map(self.plain, value)]}
        return None

    def _callable(self, value: object) -> object:
        if isinstance(value, partial) and type(value) is partial:
            return {"partial": [self.plain(value.func), self.plain(value.args), self.plain(value.keywords)]}
        if isinstance(value, MethodType):
            return {"method": [self.plain(value.__func__), self.plain(value.__self__)]}
        if isinstance(value, BuiltinFunctionType):
            owner = value.__self__
            whole = owner is None or isinstance(owner, ModuleType | type)
            named = f"{value.__module__}.{value.__qualname__}"
            return {"builtin": named} if whole else {"builtin": [named, self.plain(owner)]}
        return None


def beside_fields(value: Any) -> dict[str, object]:
    """Return the attributes of an instance of a dataclass that are not its fields, by name, sorted.

    What a property remembers is left out: it follows from the rest, and is there as soon as somebody has asked for it.
    """
    kind: Any = type(value)
    known, slots = _known(kind)
    found = {name: held for name, held in getattr(value, "__dict__", {}).items() if name not in known}
    for name, slot in slots:
        # A slot is empty until its attribute is set.
        with suppress(AttributeError):
            found[name] = slot.__get__(value)
    return dict(sorted(found.items()))


@cache
def _known(kind: Any) -> tuple[frozenset[str], tuple[tuple[str, MemberDescriptorType], ...]]:
    """Return the names of a dataclass's fields and of what its properties remember, and its slots for other names."""
    members = {name: member for base in reversed(kind.__mro__) for name, member in vars(base).items()}
    remembered = {name for name, member in members.items() if isinstance(member, cached_property)}
    known = remembered.union(field.name for field in dataclasses.fields(kind))
    slots = ((name, member) for name, member in members.items() if isinstance(member, MemberDescriptorType))
    return frozenset(known), tuple((name, slot) for name, slot in slots if name not in known)


def _is_importable(fn: FunctionType) -> bool:
    found: object = sys.modules.get(fn.__module__)
    for step in fn.__qualname__.split("."):
        found = getattr(found, step, None)
    return found is fn


def _closed_over(fn: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        # A cell is empty until its variable is set.
        with suppress(ValueError):
            yield name, cell.cell_contents


def _ordered(items: Iterable[object]) -> list[Any]:
    return sorted(items, key=lambda item: json.dumps(plain(item), sort_keys=True))


def plain(value: object) -> object:
    """Turn ``value`` into JSON types: a dataclass into its class and fields, a tensor into its hash, a function into
    its code and what it uses.

    Raises:
        TypeError: a part of it is of another type, so that it could not be named reliably.
    """
    return Naming().plain(value)


def name(value: object) -> str:
    """Return the sha256 (hex) of ``plain(value)``."""
    return text_name(plain(value))


def text_name(plain: object) -> str:
    """Return the sha256 (hex) of JSON types."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
