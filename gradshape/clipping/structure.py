"""What a model is made of, found in a single walk: walking a small model takes about as long as running it."""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from functools import reduce
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gradshape.clipping._module_locks import held
from gradshape.clipping.protocol import Parameters


class _Replacements:
    """Counts the calls that put other tensors in the place of a model's, which other threads then see."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun = self._ended = 0

    @contextmanager
    def one_more(self) -> Iterator[None]:
        with self._lock:
            self._begun += 1
        try:
            yield
        finally:
            with self._lock:
                self._ended += 1

    def seen(self) -> int | None:
        """Return a number that stays the same until a call begins; ``None`` during one."""
        with self._lock:
            return self._begun if self._begun == self._ended else None


_replacements = _Replacements()


class Restorable(Protocol):
    """Something that can be put back."""

    def restore(self) -> None: ...


@dataclass(frozen=True)
class Structure:
    """A model's modules, and the parameters and buffers that they own.

    Attributes:
        model: the model itself.
        modules: all modules by name, parents first; one that has several names comes under the first.
        parameters: the trainable parameters by name; one that has several names comes under the first.
        aliases: all names of the parameters that several modules hold, by their first name.
        buffers: all buffers by name.
        dtype: the dtype of norms: the widest floating-point dtype of the parameters, float32 at least.
        found: when it was found, for :meth:`now`.
        before: what is put back before every call; ``None`` for a model that changes nothing but its buffers.
    """

    model: nn.Module = field(repr=False)
    modules: dict[str, nn.Module] = field(repr=False)
    parameters: Parameters
    aliases: dict[str, list[str]]
    buffers: dict[str, Tensor]
    dtype: torch.dtype
    found: int | None = field(default=None, repr=False, compare=False)
    before: Restorable | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, model: nn.Module) -> "Structure":
        """Find the structure of ``model`` as it is now."""
        found = _replacements.seen()
        modules: dict[str, nn.Module] = {}
        parameters: Parameters = {}
        buffers: dict[str, Tensor] = {}
        names: dict[int, list[str]] = {}
        dtypes = set()
        seen = set()
        open_modules = [("", model)]
        while open_modules:
            name, module = open_modules.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            modules[name] = module
            prefix = f"{name}." if name else ""
            for key, parameter in module._parameters.items():
                if parameter is None:
                    continue
                dtypes.add(parameter.dtype)
                if not parameter.requires_grad:
                    continue
                if id(parameter) in names:
                    names[id(parameter)].append(prefix + key)
                else:
                    names[id(parameter)] = [prefix + key]
                    parameters[prefix + key] = parameter
            for key, buffer in module._buffers.items():
                if buffer is not None:
                    buffers[prefix + key] = buffer
            children = [(prefix + key, child) for key, child in module._modules.items() if child is not None]
            open_modules += children[::-1]
        # Those of one byte have no arithmetic, and none is wider than float32.
        dtype = reduce(
            torch.promote_types, (d for d in dtypes if d.is_floating_point and d.itemsize > 1), torch.float32
        )
        aliases = {several[0]: several for several in names.values() if len(several) > 1}
        return cls(model, modules, parameters, aliases, buffers, dtype, found)

    def now(self) -> "Structure":
        """Return the structure as it is now that this thread holds the modules.

        It is this one, unless another thread may have replaced parameters for a call while this one was found.
        """
        return self if self.found is not None and self.found == _replacements.seen() else Structure.of(self.model)

    def call(self, values: Mapping[str, Tensor], args: Sequence[Any], kwargs: Mapping[str, Any] | None = None) -> Any:
        """Return the model's output with ``values`` in place of some parameters; model and buffers stay as they are.

        Args:
            values: the parameters to replace, by name.
            args, kwargs: the arguments of the call.
        """
        if self.before is not None:
            self.before.restore()
        if not values and not self.buffers:
            return self.model(*args, **(kwargs or {}))
        state = {name: buffer.clone() for name, buffer in self.buffers.items()}
        for name, value in values.items():
            state |= dict.fromkeys(self.aliases.get(name, (name,)), value)
        with held(self.modules.values()), _replacements.one_more(), self._recurrent_weights_restored():
            # Aliases are resolved above: torch's own tying leaves copies behind in a module that has two names.
            return functional_call(self.model, state, tuple(args), dict(kwargs or {}), tie_weights=False)

    @contextmanager
    def _recurrent_weights_restored(self) -> Iterator[None]:
        # Recurrent layers list their weights a second time, and a functional call leaves its replacements in that list.
        lists = [module for module in self.modules.values() if isinstance(module, nn.RNNBase)]
        before = [(list(module._flat_weights), module._flat_weight_refs) for module in lists]
        try:
            yield
        finally:
            for module, (weights, references) in zip(lists, before, strict=True):
                module._flat_weights, module._flat_weight_refs = weights, references


def tensors_in(value: Any) -> list[Tensor]:
    """Return ``[value]`` if it is a tensor, else all tensors in its lists, tuples, mappings and dataclasses."""
    if isinstance(value, Tensor):
        return [value]
    parts: Iterable[Any] = value if isinstance(value, tuple | list) else ()
    if isinstance(value, Mapping):
        parts = value.values()
    elif is_dataclass(value) and not isinstance(value, type):
        parts = [getattr(value, entry.name) for entry in fields(value)]
    return [tensor for part in parts for tensor in tensors_in(part)]
