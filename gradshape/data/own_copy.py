"""Copies of values with all tensors in them: what somebody else holds, too, becomes the library's own."""

import copy
import operator
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cached_property
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T")


def own_copy(value: T) -> T:
    """Return a copy of what code of a user returned that shares no memory with it, with all tensors on the CPU.

    That code may write to the same tensors, arrays, lists and mappings again, in its next call or in a thread that goes
    on, so everything that outlasts the call is copied where it enters the library, before it is checked.

    Args:
        value: dataclasses, mappings, lists and tuples of tensors and arrays; anything else in it stays the same object.

    Raises:
        ValueError: a value lies within itself.

    >>> buffer = torch.zeros(2)
    >>> taken = own_copy({"weights": buffer})
    >>> _ = buffer.fill_(1)
    >>> taken
    {'weights': tensor([0., 0.])}
    """
    try:
        return cast("T", rebuilt("", value, lambda name, tensor: _on_cpu(tensor)))
    except RecursionError:
        raise ValueError("Circular reference: a value lies within itself, or too deep within others") from None


def rebuilt(name: str, value: object, copied: Callable[[str, Tensor], Tensor]) -> object:
    """Return a copy of a value in which every tensor is what ``copied`` returns for its name and itself.

    Args:
        name: what the value is called; the tensors in it are called ``name.field``, ``name['key']`` or ``name[0]``.
        value: as for :func:`own_copy`.
        copied: makes a copy of a tensor.
    """
    if isinstance(value, Tensor):
        return copied(name, value)
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, Mapping):
        return {key: rebuilt(f"{name}[{key!r}]", item, copied) for key, item in value.items()}
    if type(value) in (list, tuple):
        items = cast("list[object]", value)
        own = [rebuilt(f"{name}[{place}]", item, copied) for place, item in enumerate(items)]
        # A tuple of plain values is one itself.
        return value if type(value) is tuple and all(map(operator.is_, own, items)) else type(items)(own)
    if is_dataclass(value) and hasattr(value, "__dict__") and not isinstance(value, type):
        held = {field.name: getattr(value, field.name) for field in fields(value)}
        parts = {part: rebuilt(f"{name}.{part}", item, copied) for part, item in held.items()}
        return value if all(parts[part] is item for part, item in held.items()) else _twin(value, parts)
    return value


def _twin(value: object, parts: Mapping[str, object]) -> object:
    """Return a copy of ``value`` with other ``parts``; what it has cached is derived anew from them."""
    twin = copy.copy(value)
    for name in list(vars(twin)):
        if isinstance(getattr(type(value), name, None), cached_property):
            del vars(twin)[name]
    vars(twin).update(parts)
    return twin


def _on_cpu(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
