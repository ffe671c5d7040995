"""The bytes of an entry: a head with the length and the digest of the body, and the body.

The body is a document in JSON and the values of the tensors. The document holds the job's key, so that two files that
have changed places are noticed, too. Nothing of the body is looked at before its digest is checked: every damaged byte
ends there, and no reader of a format ever meets one.
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

Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]

# The number is that of the layout: an entry of another one is computed again.
_MAGIC = b"gradshape job 1\n"
# Bytes of a number that says how long something is.
_LENGTH = 8
_DIGEST = hashlib.sha256().digest_size
# Length of the head.
HEAD = len(_MAGIC) + _LENGTH + _DIGEST
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
    text = json.dumps(document).encode()
    parts: list[bytes | memoryview] = [len(text).to_bytes(_LENGTH, "little"), text]
    parts += [_bytes(tensor.detach().cpu().contiguous()).data for tensor in tensors.values()]

    packed = bytearray(HEAD + sum(len(part) for part in parts))
    place = HEAD
    for part in parts:
        packed[place : place + len(part)] = part
        place += len(part)
    body = memoryview(packed)[HEAD:]
    packed[:HEAD] = _MAGIC + len(body).to_bytes(_LENGTH, "little") + hashlib.sha256(body).digest()
    return packed


def body_length(head: bytes) -> int:
    """Return the length of the body that comes after a head, the first :data:`HEAD` bytes of an entry.

    Raises:
        Damaged: it is no such head.
    """
    if len(head) != HEAD or not head.startswith(_MAGIC):
        raise Damaged("it is no entry of this layout")
    return int.from_bytes(head[len(_MAGIC) : -_DIGEST], "little")


def unpack(key: str, head: bytes, body: bytes) -> Finished[Any]:
    """Return the finished job that :func:`pack` made an entry of, bit by bit.

    Raises:
        Damaged: head and body are anything else than the entry of this job.
    """
    if len(body) != body_length(head) or hashlib.sha256(body).digest() != head[-_DIGEST:]:
        raise Damaged("its content is not what was stored")
    try:
        return _parsed(key, body)
    except Exception as error:
        # Its bytes are as they were written, but not by this code: it may fail in any way to make sense of them.
        raise Damaged(f"it cannot be decoded: {type(error).__name__}: {error}") from error


def _parsed(key: str, body: bytes) -> Finished[Any]:
    end = _LENGTH + int.from_bytes(body[:_LENGTH], "little")
    document = json.loads(body[_LENGTH:end])
    if document["key"] != key:
        raise ValueError(f"it belongs to the job {document['key']!r}")
    if document["byteorder"] != sys.byteorder:
        raise ValueError(f"it was written on a machine with the byte order {document['byteorder']!r}")
    tensors = dict(_tensors(document["tensors"], np.frombuffer(body, dtype=np.uint8)[end:]))
    return Finished(results.decode(document["result"], tensors), _seconds(document["seconds"]))


def _tensors(described: Sequence[Any], values: Bytes) -> Iterator[tuple[str, Tensor]]:
    for name, dtype, shape in described:
        size = math.prod(shape) * _DTYPES[dtype].itemsize
        if size > len(values):
            raise ValueError(f"{name} has the shape {shape}: expected no more than {len(values)} bytes")
        # In memory of its own, which torch aligns as that of any other tensor.
        tensor = torch.empty(shape, dtype=_DTYPES[dtype])
        _bytes(tensor)[:] = values[:size]
        values = values[size:]
        yield name, tensor
    if len(values):
        raise ValueError(f"{len(values)} bytes belong to no tensor")


def _bytes(tensor: Tensor) -> Bytes:
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
