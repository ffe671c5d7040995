"""What a result consists of: plain values, for JSON, and tensors by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import Tensor

from gradshape.attacks import Aims, PoisonSet
from gradshape.training import Layers, OptimizerState, SubsetGradients, TrainingResult

R = TypeVar("R")
Meta = dict[str, Any]
Tensors = dict[str, Tensor]

_ROWS = ("x", "y", "source", "replaced")
_STATES = ("last", "best")
_OPTIMIZERS = ("last_optimizer", "best_optimizer")


def encode(result: object) -> tuple[Meta, Tensors]:
    """Take a result apart.

    Raises:
        TypeError: it is neither a poison set, nor a training's result, nor a mask.
    """
    for name, kind in _KINDS.items():
        if isinstance(result, kind.type):
            meta, tensors = kind.encode(result)
            return {"kind": name, **meta}, tensors
    raise TypeError(f"cannot store a {type(result).__name__}: expected a PoisonSet, a TrainingResult or a mask")


def decode(meta: Meta, tensors: Tensors) -> object:
    """Put together what :func:`encode` took apart.

    Raises:
        Exception: ``meta`` and ``tensors`` are no such result; it may be of any kind.
    """
    kind = meta.pop("kind")
    if kind not in _KINDS:
        raise ValueError(f"unknown kind of entry {kind!r}: expected {', '.join(_KINDS)}")
    left = dict(tensors)
    result = _KINDS[kind].decode(meta, left)
    if meta or left:
        raise ValueError(f"{', '.join(sorted([*meta, *left]))} belongs to no {kind}")
    return result


def _encode_poison(poison: PoisonSet) -> tuple[Meta, Tensors]:
    tensors = {name: getattr(poison, name) for name in _ROWS}
    if poison.aims is not None:
        tensors |= _named("aims", vars(poison.aims))
    # A number of NumPy's is none to JSON.
    notes = {name: value if isinstance(value, int) else float(value) for name, value in poison.notes.items()}
    return {"notes": notes, "aims": poison.aims is not None}, tensors


def _encode_training(result: TrainingResult) -> tuple[Meta, Tensors]:
    meta: Meta = {"diverged": result.diverged, "mse": result.mse, "gradients": None}
    tensors = {"accuracy": result.accuracy}
    if result.predictions is not None:
        tensors["predictions"] = result.predictions
    for which in _STATES:
        state = getattr(result, which)
        meta[which] = None if state is None else len(state)
        tensors |= _named(which, state or {})
    for which in _OPTIMIZERS:
        memory: OptimizerState | None = getattr(result, which)
        meta[which] = None if memory is None else [memory.steps, [len(slot) for slot in memory.slots]]
        for number, slot in enumerate(memory.slots if memory is not None else ()):
            tensors |= _named(f"{which}/{number}", slot)
    if result.gradients is not None:
        measured = {name: value for name, value in vars(result.gradients).items() if isinstance(value, Tensor)}
        tensors |= _named("gradients", measured)
        meta["gradients"] = [result.gradients.layers.value, list(result.gradients.parameters)]
    return meta, tensors


def _decode_poison(meta: Meta, tensors: Tensors) -> PoisonSet:
    x, y, source, replaced = (tensors.pop(name) for name in _ROWS)
    notes = {name: _number(f"notes/{name}", value) for name, value in meta.pop("notes").items()}
    aims = Aims(**_below("aims", tensors)) if _flag("aims", meta.pop("aims")) else None
    return PoisonSet(x, y, source=source, replaced=replaced, notes=notes, aims=aims)


def _decode_training(meta: Meta, tensors: Tensors) -> TrainingResult:
    diverged, mse = meta.pop("diverged"), meta.pop("mse")
    last, best = (_state(which, meta.pop(which), tensors) for which in _STATES)
    last_optimizer, best_optimizer = (_optimizer(which, meta.pop(which), tensors) for which in _OPTIMIZERS)
    return TrainingResult(
        tensors.pop("accuracy"),
        predictions=tensors.pop("predictions", None),
        last=last,
        best=best,
        diverged=None if diverged is None else _whole("diverged", diverged),
        mse=None if mse is None else _number("mse", mse),
        gradients=_gradients(meta.pop("gradients"), tensors),
        last_optimizer=last_optimizer,
        best_optimizer=best_optimizer,
    )


def _state(which: str, size: object, tensors: Tensors) -> Tensors | None:
    return None if size is None else _below(which, tensors, size)


def _optimizer(which: str, meta: list[Any] | None, tensors: Tensors) -> OptimizerState | None:
    if meta is None:
        return None
    steps, sizes = meta
    slots = tuple(_below(f"{which}/{number}", tensors, size) for number, size in enumerate(sizes))
    return OptimizerState(_whole(which, steps), slots)


def _gradients(meta: list[Any] | None, tensors: Tensors) -> SubsetGradients | None:
    if meta is None:
        return None
    layers, parameters = meta
    if not all(isinstance(name, str) for name in parameters):
        raise TypeError(f"parameters={parameters!r}: expected names")
    measured = _below("gradients", tensors)
    return SubsetGradients(Layers(layers), tuple(parameters), **measured)


def _named(name: str, tensors: Mapping[str, Tensor]) -> Tensors:
    return {f"{name}/{key}": tensor for key, tensor in tensors.items()}


def _below(name: str, tensors: Tensors, size: object = None) -> Tensors:
    """Take the tensors out of ``tensors`` whose names :func:`_named` gave; ``size`` of them, if that is known."""
    found = {key.removeprefix(f"{name}/"): tensors.pop(key) for key in list(tensors) if key.startswith(f"{name}/")}
    if size is not None and _whole(name, size) != len(found):
        raise ValueError(f"{len(found)} tensors of {name}: expected {size}")
    return found


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name}={value!r}: expected true or false")
    return value


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{name}={value!r}: expected a whole number of at least 0")
    return value


def _number(name: str, value: object) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"{name}={value!r}: expected a number")
    return value


@dataclass(frozen=True)
class _Kind(Generic[R]):
    """How results of one type are taken apart and put together; the latter takes what it uses out of its arguments."""

    type: type[R]
    encode: Callable[[R], tuple[Meta, Tensors]]
    decode: Callable[[Meta, Tensors], R]


# By the name that an entry has for it. What the jobs of a new type give needs a row here to be kept.
_KINDS: Mapping[str, _Kind[Any]] = {
    "poison": _Kind(PoisonSet, _encode_poison, _decode_poison),
    "training": _Kind(TrainingResult, _encode_training, _decode_training),
    "mask": _Kind(Tensor, lambda mask: ({}, {"mask": mask}), lambda _, tensors: tensors.pop("mask")),
}
