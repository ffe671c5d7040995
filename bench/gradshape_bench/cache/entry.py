"""The bytes of an entry: a digest over all that follows, a header in JSON, and the values of the tensors.

The header holds the job's key, so that two files that have changed places are noticed, too. Nothing is looked at before
the digest is checked: every damaged byte ends there, and no reader of a format ever meets one.
"""

import hashlib
import json
import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradshape_bench.cache import results
from gradshape_bench.jobs import Finished

# The number is that of the layout: an entry of another one is computed again.
MAGIC = b"gradshape job 1\n"
_DIGEST = slice(len(MAGIC), len(MAGIC) + hashlib.sha256().digest_size)
# Bytes of the number that says how long the header is.
_LENGTH = 8
_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128),
    )
}


class Damaged(ValueError):
    """The bytes are not what was stored for the job; the message says what is wrong with them."""


def pack(key: str, finished: Finished[Any]) -> bytearray:
    """Return the entry of a finished job.

    Raises:
        TypeError: there is no way to store such a result, or one of its tensors.
        ValueError: its seconds are no finite number of at least 0.
    """
    result, tensors = results.encode(finished.result)
    described = [[name, _dtype_name(name, tensor), list(tensor.shape)] for name, tensor in tensors.items()]
    document = {
        "key": key,
        "seconds": _seconds(finished.seconds),
        "byteorder": sys.byteorder,
        "result": result,
        "tensors": described,
    }
    header = json.dumps(document).encode()
    parts: list[bytes | memoryview] = [len(header).to_bytes(_LENGTH, "little"), header]
    parts += [_bytes(tensor.detach().cpu().contiguous()).data for tensor in tensors.values()]

    packed = bytearray(_DIGEST.stop + sum(len(part) for part in parts))
    packed[: len(MAGIC)] = MAGIC
    place = _DIGEST.stop
    for part in parts:
        packed[place : place + len(part)] = part
        place += len(part)
    packed[_DIGEST] = hashlib.sha256(memoryview(packed)[_DIGEST.stop :]).digest()
    return packed


def unpack(key: str, packed: bytes | bytearray) -> Finished[Any]:
    """Return the finished job that :func:`pack` made ``packed`` of, bit by bit.

    Raises:
        Damaged: ``packed`` is anything else than the entry of this job.
    """
    if packed[: len(MAGIC)] != MAGIC:
        raise Damaged("it is no entry of this layout")
    body = memoryview(packed)[_DIGEST.stop :]
    if hashlib.sha256(body).digest() != packed[_DIGEST]:
        raise Damaged("its content does not have the digest that it was stored with")
    try:
        return _parsed(key, body)
    except Exception as error:
        # Whoever wrote this meant it, but no version of this code; so whatever it makes fail says no more than that.
        raise Damaged(f"it cannot be decoded: {type(error).__name__}: {error}") from error


def _parsed(key: str, body: memoryview) -> Finished[Any]:
    end = _LENGTH + int.from_bytes(body[:_LENGTH], "little")
    header = json.loads(bytes(body[_LENGTH:end]))
    if header["key"] != key:
        raise ValueError(f"it belongs to the job {header['key']!r}")
    if header["byteorder"] != sys.byteorder:
        raise ValueError(f"it was written on a machine with the byte order {header['byteorder']!r}")
    tensors = dict(_tensors(header["tensors"], body[end:]))
    return Finished(results.decode(header["result"], tensors), _seconds(header["seconds"]))


def _tensors(described: Sequence[Any], values: memoryview) -> Iterator[tuple[str, Tensor]]:
    left = np.frombuffer(values, dtype=np.uint8)
    for name, dtype, shape in described:
        size = math.prod(shape) * _DTYPES[dtype].itemsize
        if size > len(left):
            raise ValueError(f"{name} has the shape {shape}: expected no more than {len(left)} bytes")
        # In memory of its own, which torch aligns as that of any other tensor.
        tensor = torch.empty(shape, dtype=_DTYPES[dtype])
        _bytes(tensor)[:] = left[:size]
        left = left[size:]
        yield name, tensor
    if len(left):
        raise ValueError(f"{len(left)} bytes belong to no tensor")


def _bytes(tensor: Tensor) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
    """Return the memory of a contiguous tensor."""
    return tensor.reshape(-1).view(torch.uint8).numpy()


def _dtype_name(name: str, tensor: Tensor) -> str:
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in _DTYPES or tensor.layout is not torch.strided:
        raise TypeError(f"cannot store {name}, {dtype} in layout {tensor.layout}: expected a dense tensor of numbers")
    return dtype


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"seconds={value!r}: expected a finite number of at least 0")
    return float(value)
