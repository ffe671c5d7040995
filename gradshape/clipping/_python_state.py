"""The values beside parameters, buffers and rows that a model and its loss may read: plain attributes and globals.

A change of one may change how rows depend on each other without a trace in the shapes or in the autograd graph.
"""

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from gradshape import _code
from gradshape.clipping._sequential_models import has_hooks
from gradshape.clipping.protocol import LossFn
from gradshape.clipping.structure import Structure, tensors_in

# Collections of more items count by their length, and tensors of more elements by how often they were written to.
_ITEMS, _ELEMENTS = 64, 16
# Objects within objects that are looked into.
_DEPTH = 3
_OF_MODULES = frozenset(vars(nn.Module())) - {"training"}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_ABSENT = object()
_SIMPLE = frozenset({bool, int, float, str})
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_CALLED = (FunctionType, MethodType, partial)
_CODE = (ModuleType, type, FunctionType, BuiltinFunctionType, MethodType, nn.Module)

# Methods that no forward pass calls.
_UNUSED = frozenset({"__init__", "__repr__", "extra_repr"})
# The globals that functions read: hashing a function is quicker than hashing its code.
_read: WeakKeyDictionary[FunctionType, tuple[str, ...]] = WeakKeyDictionary()

# The path of a value: the module or the loss that it belongs to, and its name there.
Place = tuple[str, str]


@dataclass(frozen=True)
class PythonState:
    """The plain values at one time.

    Attributes:
        values: what tells them apart, by their places.
        attributes: those that can be put back: of every object its attributes, and copies of what they hold.
    """

    values: Mapping[Place, Hashable]
    attributes: list[tuple[dict[str, Any], dict[str, tuple[Any, Any]]]]

    @classmethod
    def of(
        cls, structure: Structure, loss_fn: LossFn, *, kept: bool = True, copied: Collection[str] | None = None
    ) -> "PythonState":
        """Read the state of a model and its loss.

        Args:
            structure, loss_fn: the model and its loss.
            kept: whether the attributes may have to be put back.
            copied: names of those whose contents are copied; ``None`` for all.
        """
        values: dict[Place, Hashable] = {}
        attributes = []
        for where, owner in _owners(structure, loss_fn):
            own = vars(owner)
            if _is_written(type(owner)):
                # As a list, here and below: other threads may add to what is not the model's alone.
                for name, value in list(own.items()):
                    if name not in _OF_MODULES:
                        values[where, name] = plain_value(value)
                for name, value in _of_class(type(owner)):
                    values[where, f"class {name}"] = value
                if kept:
                    attributes.append((own, _kept(own, copied)))
            else:
                # Sizes that are tuples leave a trace in the shapes.
                values[where, "settings"] = tuple([item for item in own.items() if type(item[1]) in _SIMPLE])
                if "forward" in own:
                    values[where, "forward"] = plain_value(own["forward"])
            if isinstance(owner, nn.Module) and has_hooks(owner):
                on_parameters = [tuple(p._backward_hooks or ()) for p in owner._parameters.values() if p is not None]
                values[where, "hooks"] = (*(tuple(own[name]) for name in _HOOKS), *on_parameters)
        for name, buffer in structure.buffers.items():
            values["buffers", name] = id(buffer), _version(buffer)
        values["loss", ""] = plain_value(loss_fn) if isinstance(loss_fn, _CALLED) else _name(loss_fn)
        return cls(values, attributes)

    def but(self, left_out: Collection[Place]) -> Hashable:
        """Return what tells the values apart, without some places."""
        if not left_out:
            return tuple(self.values.items())
        return tuple(item for item in self.values.items() if item[0] not in left_out)

    def changed(self, later: "PythonState") -> set[Place]:
        """Return the places whose values are others in a later state."""
        places = self.values.keys() | later.values.keys()
        return {p for p in places if self.values.get(p, _ABSENT) != later.values.get(p, _ABSENT)}

    def restore(self) -> None:
        """Put the attributes back, and what was copied of lists, dicts and tensors."""
        for own, kept in self.attributes:
            for name in [name for name in own if name not in kept and _is_attribute(name)]:
                del own[name]
            for name, (value, copy) in kept.items():
                own[name] = value
                _write_back(value, copy)


def kept_graphs(structure: Structure) -> list[Tensor]:
    """Return the tensors among the attributes of somebody's own modules that were computed from parameters."""
    owners = [module for module in structure.modules.values() if _is_written(type(module))]
    values = [value for owner in owners for name, value in vars(owner).items() if name not in _OF_MODULES]
    return [tensor for value in values for tensor in tensors_in(value) if tensor.grad_fn is not None]


def _owners(structure: Structure, loss_fn: LossFn) -> Iterator[tuple[str, Any]]:
    yield from structure.modules.items()
    owner = getattr(loss_fn, "__self__", loss_fn)
    if isinstance(owner, nn.Module):
        for name, module in owner.named_modules():
            yield f"loss.{name}", module
    elif hasattr(owner, "__dict__") and not isinstance(owner, FunctionType | ModuleType | type):
        yield "loss", owner


def _is_written(kind: type) -> bool:
    """Return whether a class is somebody's own, and not torch's."""
    return not kind.__module__.startswith(("torch.", "gradshape.", "builtins"))


def _is_attribute(name: str) -> bool:
    return name not in _OF_MODULES and name != "forward"


def _kept(own: Mapping[str, Any], copied: Collection[str] | None) -> dict[str, tuple[Any, Any]]:
    return {
        name: (value, _copy(value) if copied is None or name in copied else None)
        for name, value in own.items()
        if _is_attribute(name)
    }


def _copy(value: object) -> Any:
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        return _version(value), value.detach().clone()
    if isinstance(value, list | dict):
        return value.copy()
    return None


def _write_back(value: Any, copy: Any) -> None:
    if copy is None:
        return
    if isinstance(value, Tensor):
        version, content = copy
        if _version(value) != version:
            value.detach().copy_(content)
    elif isinstance(value, list):
        value[:] = copy
    else:
        value.clear()
        value.update(copy)


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _of_class(kind: type) -> Iterator[tuple[str, Hashable]]:
    """Yield the plain values of a class that somebody wrote, and the globals that its methods read."""
    for base in reversed(kind.__mro__):
        if not _is_written(base):
            continue
        for name, value in list(vars(base).items()):
            if isinstance(value, FunctionType):
                if name in _UNUSED:
                    continue
                for read, found in _globals_of(value, _DEPTH):
                    yield f"{name} reads {read}", found
            elif not name.startswith("__") and (isinstance(value, (*_PLAIN, list, tuple, dict, Tensor))):
                yield name, plain_value(value)


def _globals_of(fn: FunctionType, depth: int) -> Iterator[tuple[str, Hashable]]:
    names = _read.get(fn)
    if names is None:
        names = _read[fn] = _code.global_names(fn.__code__)
    for name in names:
        value = fn.__globals__.get(name, _ABSENT)
        if value is not _ABSENT and not isinstance(value, _CODE) and not callable(value):
            yield name, plain_value(value, depth)


def plain_value(value: Any, depth: int = _DEPTH) -> Hashable:
    """Return what tells a value from another, as far as it is plain."""
    kind: Any = type(value)
    if kind in _PLAIN or isinstance(value, np.number | np.bool_):
        return kind, value
    if isinstance(value, Tensor):
        return _tensor(value)
    if isinstance(value, np.ndarray):
        return value.shape, value.tobytes() if value.size <= _ELEMENTS and not value.dtype.hasobject else id(value)
    if depth > 0 and isinstance(value, nn.Module):
        return _name(value), tuple([item for item in vars(value).items() if type(item[1]) in _SIMPLE])
    if depth == 0 or isinstance(value, ModuleType | type | nn.Module | CellType):
        return _name(value)
    inner = partial(plain_value, depth=depth - 1)
    if isinstance(value, list | tuple | set | frozenset | dict):
        if len(value) > _ITEMS:
            return kind, len(value)
        parts: list[Iterable[Any]] = (
            [list(value.keys()), list(value.values())] if isinstance(value, dict) else [list(value)]
        )
        return (kind, *(tuple(map(inner, part)) for part in parts))
    if isinstance(value, FunctionType):
        cells = tuple(inner(content) for content in _contents(value))
        read = tuple(_globals_of(value, depth - 1))
        return id(value.__code__), cells, inner(value.__defaults__), read
    if isinstance(value, MethodType):
        return inner(value.__func__), inner(value.__self__)
    if isinstance(value, partial):
        return inner(value.func), inner(value.args), inner(value.keywords)
    return kind, inner(vars(value)) if hasattr(value, "__dict__") else None


def _name(value: object) -> str:
    return type(value).__qualname__


def _contents(fn: FunctionType) -> Iterator[object]:
    for cell in fn.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # Its variable is not set yet.
            yield None


def _tensor(value: Tensor) -> Hashable:
    if isinstance(value, nn.Parameter) or value.requires_grad:
        # The model's own, which every step changes, or made of these.
        return Tensor, value.shape
    if value.device.type == "cpu" and value.numel() <= _ELEMENTS and value.layout == torch.strided:
        return value.dtype, value.shape, tuple(value.detach().flatten().tolist())
    return id(value), _version(value), value.shape
