"""Names of contents: sha256 over tensors, and over values made of dataclasses."""

import dataclasses
import hashlib
import json
from enum import Enum

import numpy as np
from torch import Tensor


def of(*tensors: Tensor) -> str:
    """Return the sha256 (hex) of the tensors' dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for tensor in tensors:
        array = np.ascontiguousarray(tensor.cpu().numpy())
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def plain(value: object) -> object:
    """Turn ``value`` into JSON types: a dataclass into its class and fields, a tensor into its hash.

    Raises:
        TypeError: a part of it is of another type, so that it could not be named reliably.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, Enum):
        return {"enum": f"{type(value).__qualname__}.{value.name}"}
    if isinstance(value, Tensor):
        return {"tensor": of(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        return {"type": kind, **{f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in sorted(value.items())}
    raise TypeError(
        f"{value!r} of type {type(value).__name__} has no content name: use frozen dataclasses of plain values"
    )


def name(value: object) -> str:
    """Return the sha256 (hex) of ``plain(value)``."""
    return hashlib.sha256(json.dumps(plain(value), sort_keys=True).encode()).hexdigest()
