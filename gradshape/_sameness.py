"""Whether two things of a user's own do and hold the same, so that one name may stand for both."""

import copy
import pickle
import threading
from collections.abc import Mapping
from functools import partial
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradshape import _code

# What classes have besides what they do: where they were written, and what is made of the rest.
_BESIDE = {
    *("__dict__", "__weakref__", "__module__", "__doc__", "__firstlineno__", "__static_attributes__"),
    *("__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__", "_abc_impl"),
    *("__dataclass_fields__", "__match_args__", "__parameters__", "__orig_bases__"),
}
# These hold nothing but their items, or nothing.
_PLAIN = (Mapping, list, tuple, type(threading.Lock()), type(threading.RLock()))
_IDENTIFIED = (Tensor, nn.Module, np.ndarray)


def same(one: object, other: object) -> bool:
    """Return whether two objects are one, or equal in all that they do and hold.

    Functions and classes are compared by their code and by what they close over; by what they read from their module
    only where its file was imported again. Everything else is compared by its attributes and items, or pickled.

    >>> same(lambda x: x / 2, lambda x: x / 2), same(lambda x: x / 2, lambda x: x / 3)
    (True, False)
    """
    return _Comparison().same(one, other)


def snapshot(value: Any) -> Any:
    """Return a copy of an object as it is now, or itself if it cannot be copied; functions and classes stay one."""
    try:
        return copy.deepcopy(value)
    except Exception:  # It holds a lock, for example.
        return value


def pickled(part: object) -> bytes | None:
    """Return what an object holds as bytes, to be compared; ``None`` if it cannot be pickled."""
    try:
        return pickle.dumps(part)
    except Exception:  # A lock, for example.
        return None


class _Comparison:
    """A comparison of two objects, which may hold each other or themselves."""

    def __init__(self) -> None:
        # Pairs under comparison, which are taken to be the same until something else differs.
        self._met = set[tuple[int, int]]()
        # They are held, so that no other object is given the identity of one of them.
        self._held: list[object] = []
        # Which tensor or module stands for which, so that what is shared on one side is shared on the other.
        self._stands_for: dict[int, int] = {}
        self._stood_for: dict[int, int] = {}

    def same(self, one: Any, other: Any) -> bool:
        if isinstance(one, _IDENTIFIED) and not self._pair(one, other):
            return False
        if one is other or (id(one), id(other)) in self._met:
            return True
        self._met.add((id(one), id(other)))
        self._held += [one, other]
        if isinstance(one, type) and isinstance(other, type):
            return self._classes(one, other)
        if type(one) is not type(other) and not self.same(type(one), type(other)):
            return False
        if isinstance(one, Tensor):
            return one.requires_grad == other.requires_grad and same_values(one, other)
        if isinstance(one, np.ndarray):
            return one.dtype == other.dtype and one.shape == other.shape and self.same(one.tolist(), other.tolist())
        if isinstance(one, FunctionType):
            return self._functions(one, other)
        if isinstance(one, ModuleType):
            return bool(one.__name__ == other.__name__)
        parts = _parts(one)
        if parts is not None:
            return self.same(parts, _parts(other))
        return self._items(one, other) and self._attributes(one, other)

    def _pair(self, one: object, other: object) -> bool:
        one_first = self._stands_for.setdefault(id(one), id(other)) == id(other)
        return self._stood_for.setdefault(id(other), id(one)) == id(one) and one_first

    def _functions(self, one: FunctionType, other: FunctionType) -> bool:
        if one.__module__ != other.__module__ or _code.content(one.__code__) != _code.content(other.__code__):
            return False
        for name in ("__defaults__", "__kwdefaults__", "__closure__", "__dict__"):
            if not self.same(getattr(one, name), getattr(other, name)):
                return False
        mine, theirs = one.__globals__, other.__globals__
        read = () if mine is theirs else _code.global_names(one.__code__)
        return all(self.same(mine.get(name), theirs.get(name)) for name in read)

    def _classes(self, one: type, other: type) -> bool:
        if (one.__module__, one.__qualname__) != (other.__module__, other.__qualname__):
            return False
        mine, theirs = ({k: v for k, v in vars(kind).items() if k not in _BESIDE} for kind in (one, other))
        return self.same(one.__bases__, other.__bases__) and self.same(mine, theirs)

    def _items(self, one: Any, other: Any) -> bool:
        if isinstance(one, Mapping):
            return one.keys() == other.keys() and all(self.same(value, other[key]) for key, value in one.items())
        if isinstance(one, list | tuple):
            return len(one) == len(other) and all(map(self.same, one, other))
        return True

    def _attributes(self, one: Any, other: Any) -> bool:
        held = getattr(one, "__dict__", None)
        if held is not None:
            return self.same(held, other.__dict__)
        if isinstance(one, _PLAIN):
            return True
        bytes_of = pickled(one)
        if bytes_of is not None and bytes_of == pickled(other):
            return True
        try:
            return bool(one == other)
        except Exception:  # Whatever it is, it is not known to be the same.
            return False


def _parts(value: Any) -> tuple[object, ...] | None:
    """Return what makes up a value whose attributes do not show it; ``None`` for any other."""
    if isinstance(value, MethodType):
        return value.__func__, value.__self__
    if isinstance(value, partial):
        return value.func, value.args, value.keywords, vars(value)
    if isinstance(value, staticmethod | classmethod):
        return (value.__func__,)
    if isinstance(value, property):
        return value.fget, value.fset, value.fdel
    if isinstance(value, CellType):
        try:
            return (value.cell_contents,)
        except ValueError:  # It is empty.
            return ()
    return None


def same_values(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors hold the same numbers; NaN is the same as NaN."""
    if one.shape != other.shape or one.dtype != other.dtype or one.layout != other.layout:
        return False
    one, other = (part.detach().cpu().to_dense() for part in (one, other))
    return torch.equal(one, other) or bool(((one == other) | (one.isnan() & other.isnan())).all())
