"""Inputs and labels of a batch: tensors with a row for each sample, alone or in tuples, lists and mappings."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gradshape.clipping._python_state import plain_value


class Arguments(NamedTuple):
    """The inputs of a call that gives some by their places and others by their names."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


# A tensor with a row for each sample, or a tuple, list or mapping of these, beside other values.
Inputs = Any


@dataclass(frozen=True)
class _Place:
    """Stands for a tensor, by its number."""

    number: int


@dataclass(frozen=True, eq=False)
class Rows:
    """The inputs or the labels of ``B`` samples.

    Attributes:
        tensors: ``(B, ...)`` each, in the order in which they come.
        tree: what the caller passed, with places for the tensors; lists, tuples and dicts are new.
    """

    tensors: tuple[Tensor, ...] = field(repr=False)
    tree: Any

    @classmethod
    def of(cls, value: Any, name: str = "x") -> "Rows":
        """Take apart what a caller passed.

        Raises:
            ValueError: a tensor in it has no first axis, another number of rows than the first one, or is not dense.
        """
        if isinstance(value, Tensor):
            _refuse_sparse(value, name)
            return cls((value,), _Place(0))
        found: dict[str, Tensor] = {}
        tree = _without_tensors(value, name, found)
        tensors = tuple(found.values())
        for entry, tensor in found.items():
            if tensor.dim() == 0 or len(tensor) != len(tensors[0]):
                first = next(iter(found))
                rows = "" if tensors[0].dim() == 0 else f", {len(tensors[0])} as in {first}"
                raise ValueError(
                    f"{entry} has shape {tuple(tensor.shape)}: expected a row for each sample along its first axis"
                    f"{rows}; pass what all samples share as a number, or make it a buffer of the model"
                )
        return cls(tensors, tree)

    def __len__(self) -> int:
        return self.tensors[0].shape[0] if self.tensors else 0

    def __getitem__(self, index: slice | Tensor) -> "Rows":
        return self.map(lambda tensor: tensor[index])

    def map(self, fn: Callable[[Tensor], Tensor]) -> "Rows":
        """Return what ``fn`` makes of each tensor, at the same places."""
        return Rows(tuple(map(fn, self.tensors)), self.tree)

    def clone(self) -> "Rows":
        """Return copies, so that a model may write to them."""
        return self.map(torch.clone)

    def split(self, size: int) -> Iterator["Rows"]:
        """Yield ``size`` rows at a time; without tensors, the same for ever."""
        if not self.tensors:
            while True:
                yield self
        for parts in zip(*(tensor.split(size) for tensor in self.tensors), strict=True):
            yield Rows(parts, self.tree)

    def with_tensors(self, tensors: Sequence[Tensor]) -> "Rows":
        """Return other tensors at the same places."""
        return Rows(tuple(tensors), self.tree)

    @property
    def value(self) -> Any:
        """The tensors where the caller had them."""
        return self.tensors[0] if isinstance(self.tree, _Place) else _with_tensors(self.tree, self.tensors)

    @property
    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a call: those of a tuple or list by their places, those of a mapping by their names."""
        value = self.value
        if isinstance(value, Arguments):
            return value.args, value.kwargs
        if isinstance(value, dict):
            return (), value
        return (tuple(value) if isinstance(value, tuple | list) else (value,)), {}

    @property
    def single(self) -> Tensor | None:
        """The tensor if it is all that there is."""
        return self.tensors[0] if isinstance(self.tree, _Place) else None

    @property
    def device(self) -> torch.device:
        """The device of the first tensor; there is one."""
        return self.tensors[0].device

    @property
    def shapes(self) -> tuple[torch.Size, ...]:
        """The shape of each tensor."""
        return tuple(tensor.shape for tensor in self.tensors)

    @property
    def kinds(self) -> Hashable:
        """The dtypes, and what holds the tensors."""
        return tuple(tensor.dtype for tensor in self.tensors), _layout(self.tree)

    @cached_property
    def plain(self) -> Hashable:
        """What tells apart the values that are no tensors."""
        return () if isinstance(self.tree, _Place) else tuple(_plain(self.tree))


def batch_of(x: Inputs, y: Inputs) -> tuple[Rows, Rows]:
    """Take inputs and labels apart, detached.

    Raises:
        ValueError: they are no batch: see :meth:`Rows.of`; there are no inputs; inputs and labels differ in length.
    """
    rows, labels = inputs_of(x), Rows.of(y, "y")
    refuse_other_lengths(rows, labels)
    return rows, labels.map(torch.detach)


def inputs_of(x: Inputs) -> Rows:
    """Take inputs apart, detached.

    Raises:
        ValueError: see :meth:`Rows.of`; there are no tensors; names of arguments are no strings.
    """
    rows = Rows.of(x, "x")
    if not rows.tensors:
        raise ValueError(
            f"x is a {type(x).__name__} without tensors: expected a tensor with a row for each sample, or a tuple, "
            "list or mapping of such tensors"
        )
    if isinstance(rows.tree, dict) and not all(isinstance(name, str) for name in rows.tree):
        raise ValueError(f"x has the keys {list(rows.tree)}: expected names of arguments of the model")
    return rows.map(torch.detach)


def refuse_other_lengths(rows: Rows, labels: Rows) -> None:
    """Raise ``ValueError`` if inputs and labels differ in length."""
    sizes = {tensor.shape[:1] for side in (rows, labels) for tensor in side.tensors[:1]}
    if len(sizes) > 1 or () in sizes:
        shapes = " and ".join(
            f"{name} has shape {', '.join(str(tuple(tensor.shape)) for tensor in side.tensors)}"
            for name, side in (("x", rows), ("y", labels))
            if side.tensors
        )
        raise ValueError(f"{shapes}: expected the same number of rows")


def _without_tensors(value: Any, name: str, found: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        _refuse_sparse(value, name)
        found[name] = value
        return _Place(len(found) - 1)
    if isinstance(value, Mapping):
        return {key: _without_tensors(part, f"{name}[{key!r}]", found) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return _made(value, [_without_tensors(part, f"{name}[{n}]", found) for n, part in enumerate(value)])
    if isinstance(value, np.ndarray):
        raise ValueError(f"{name} is a {type(value).__name__}: expected a tensor; use torch.as_tensor")
    return value


def _with_tensors(tree: Any, tensors: Sequence[Tensor]) -> Any:
    if isinstance(tree, _Place):
        return tensors[tree.number]
    if isinstance(tree, dict):
        return {key: _with_tensors(part, tensors) for key, part in tree.items()}
    if isinstance(tree, tuple | list):
        return _made(tree, [_with_tensors(part, tensors) for part in tree])
    return tree


def _made(like: tuple[Any, ...] | list[Any], parts: list[Any]) -> Any:
    if isinstance(like, list):
        return parts
    # A named tuple takes its parts one by one.
    return type(like)(*parts) if hasattr(like, "_fields") else tuple(parts)


def _layout(tree: Any) -> Hashable:
    if isinstance(tree, dict):
        return tuple((key, _layout(part)) for key, part in tree.items())
    if isinstance(tree, tuple | list):
        return type(tree), tuple(map(_layout, tree))
    return tree if isinstance(tree, _Place) else None


def _plain(tree: Any) -> Iterator[Hashable]:
    if isinstance(tree, dict | tuple | list):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from _plain(part)
    elif not isinstance(tree, _Place):
        yield plain_value(tree)


def _refuse_sparse(tensor: Tensor, name: str) -> None:
    if tensor.layout is not torch.strided or tensor.is_nested:
        raise ValueError(f"{name} has the layout {tensor.layout}: expected a dense tensor")
