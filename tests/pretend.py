"""A second device for machines that have none: its tensors lie on the CPU, and it is as particular as a GPU.

Inside :func:`pretend_device`, tensors of the device ``"pretend"`` can be made and computed with. As on a GPU, an
operator that meets tensors of both devices raises, and so does drawing on it from a generator of the CPU. What a GPU
would make the host wait for is counted: values read by Python, copies to the CPU, results whose size depends on values.

It records as CUDA does, see :func:`record`: what runs again is the operators, in the same memory, and no Python.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "pretend"


class _Module(_DummyBackendModule):
    """To torch the device is this process's accelerator: others ask it what they ask any accelerator."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


_setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
_aten = torch.ops.aten
_COPIES = {_aten._to_copy.default, _aten.copy_.default, _aten._copy_from.default}
# They take indices from the CPU, which are copied.
_INDEXING = {_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default, _aten._index_put_impl_.default}
_READING = {_aten._local_scalar_dense.default, _aten.equal.default, _aten.is_nonzero.default}
_SIZED_BY_VALUES = {
    _aten.nonzero.default,
    _aten.masked_select.default,
    _aten._unique2.default,
    _aten.unique_dim.default,
    _aten.repeat_interleave.Tensor,
    _aten.bincount.default,
}


class _Pretended(Tensor):
    """A tensor of the device: a shell around one on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "_Pretended":
        shell: _Pretended = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(NAME, 0),
            requires_grad=held.requires_grad,
        )
        shell.held = held
        return shell

    def __repr__(self) -> str:  # type: ignore[override]
        return f"{NAME}({self.held!r})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _computed(func, args, dict(kwargs or {}), Counter())


class _Watching(TorchDispatchMode):
    """Makes tensors on the device where that is asked for, and counts waits."""

    def __init__(self, waits: Counter[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._waits = waits

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _computed(func, args, dict(kwargs or {}), self._waits)


@contextmanager
def pretend_device() -> Iterator[Counter[str]]:
    """Have the device; gives how often the host would have waited, by the operator's name."""
    waits: Counter[str] = Counter()
    with _Watching(waits):
        yield waits


def _computed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], waits: Counter[str]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    here = any(isinstance(tensor, _Pretended) for tensor in tensors)
    # Numbers of the CPU mix with everything.
    elsewhere = any(not isinstance(tensor, _Pretended) and tensor.ndim > 0 for tensor in tensors)
    asked = kwargs.get("device")
    stays = here if asked is None else torch.device(asked).type == NAME
    if here and elsewhere and func not in _COPIES and not (func in _INDEXING and isinstance(args[0], _Pretended)):
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, got {NAME} and cpu")
    if stays and isinstance(kwargs.get("generator"), torch.Generator):
        raise RuntimeError(f"{func}: expected a generator of the device {NAME}, got one of cpu")
    if here and _waits_for(func, args, stays, elsewhere):
        waits[str(func)] += 1
    if _record is not None and (_waits_for(func, args, stays, elsewhere) or (func in _COPIES and elsewhere)):
        raise RuntimeError(f"{func}: cannot be recorded, as the host waits for it")
    if asked is not None:
        kwargs["device"] = torch.device("cpu")
    held_args, held_kwargs = tree_map(_held, args), tree_map(_held, kwargs)
    if _record is None or not stays:
        result = func(*held_args, **held_kwargs)
    else:
        result = _record.run(func, held_args, held_kwargs)
    if not stays:
        return result
    shells = tree_map(lambda value: _Pretended(value) if isinstance(value, Tensor) else value, result)
    return return_and_correct_aliasing(func, args, kwargs, shells) if here else shells


class _Record:
    """The operators on the device since it was made, and what was in the memory that they wrote to."""

    def __init__(self) -> None:
        self._operators: list[tuple[Callable[[], Any], list[Tensor]]] = []
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call an operator and note it."""
        schema = func._schema
        given = {**dict(zip((argument.name for argument in schema.arguments), args, strict=False)), **kwargs}
        written = [given.get(argument.name) for argument in schema.arguments if _is_write(argument)]
        for tensor in tree_leaves(written):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self._before.setdefault(storage.data_ptr(), (storage, storage.clone()))
        result = func(*args, **kwargs)
        is_view = not written and any(returned.alias_info is not None for returned in schema.returns)
        if not is_view:
            # Others read what is made anew where it was first.
            made = [] if written else _tensors(result)
            self._operators.append((lambda: func(*args, **kwargs), made))
        return result

    def undo(self) -> None:
        """Put back what was there."""
        for storage, before in self._before.values():
            storage.copy_(before)

    def again(self) -> None:
        """Run all operators in the same memory."""
        for operator, made in self._operators:
            result = operator()
            for place, value in zip(made, _tensors(result) if made else [], strict=True):
                place.copy_(value)


def _is_write(argument: Any) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


_record: _Record | None = None


def record(function: Callable[[], Any], device: torch.device) -> tuple[Any, Callable[[], None]]:
    """A :data:`gradshape.training._replay.Recorder`."""
    global _record
    made = _record = _Record()
    try:
        result = function()
    finally:
        _record = None
        made.undo()
    return result, made.again


def _waits_for(func: Any, args: tuple[Any, ...], stays: bool, elsewhere: bool) -> bool:
    if func in _COPIES:
        return elsewhere and not isinstance(args[0], _Pretended) if func is _aten.copy_.default else not stays
    masks = func in _INDEXING and any(
        isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in tree_leaves(args[1])
    )
    return func in _READING or func in _SIZED_BY_VALUES or masks or (func in _INDEXING and elsewhere)


def _held(value: Any) -> Any:
    return value.held if isinstance(value, _Pretended) else value


# torch.tensor(..., device=...) and what autograd makes in its own thread never meet a mode.
_kernels = torch.library.Library("aten", "IMPL")


def _kernel(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(kernel: Callable[..., Any]) -> Callable[..., Any]:
        _kernels.impl(name, kernel, "PrivateUse1")
        return kernel

    return register


@_kernel("empty_strided")
def _empty_strided(size: Sequence[int], stride: Sequence[int], dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return _Pretended(torch.empty_strided(size, stride, dtype=dtype, device="cpu"))


@_kernel("empty.memory_format")
def _empty(size: Sequence[int], dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return _Pretended(torch.empty(size, dtype=dtype, device="cpu"))


@_kernel("_copy_from")
def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    if _record is not None and not isinstance(source, _Pretended):
        raise RuntimeError("a copy from the CPU cannot be recorded, as the host waits for it")
    _held(target).copy_(_held(source))
    return target
