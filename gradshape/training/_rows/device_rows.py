"""Rows, and the order in which they come, on the device that trains on them."""

from collections.abc import Iterator, Sequence
from itertools import repeat

import torch
from torch import Tensor

from gradshape.training._rows.order import BatchIds, CommonRows


class DeviceRows:
    """Rows ``x (N, *shape)``, ``y (N,)`` that come to the device where they are needed.

    Args:
        x, y: float32 rows and int64 labels.
        device, dtype: where rows come to, and in which floating-point type.
        max_bytes: tables up to this size are kept on the device.
    """

    def __init__(self, x: Tensor, y: Tensor, *, device: torch.device, dtype: torch.dtype, max_bytes: int) -> None:
        fits = x.nbytes + y.nbytes <= max_bytes
        self._x, self._y = (x.to(device), y.to(device)) if fits else (x, y)
        self._device = device
        self._dtype = dtype
        self.shape = tuple(x.shape[1:])

    def __len__(self) -> int:
        return len(self._y)

    @property
    def home(self) -> torch.device:
        """The device that ids have to be on."""
        return self._y.device

    def __getitem__(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows with these ids, of any shape."""
        flat = ids.flatten()
        x, y = (values.index_select(0, flat).unflatten(0, ids.shape) for values in (self._x, self._y))
        return x.to(device=self._device, dtype=self._dtype), y.to(self._device)

    def split(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield copies of all rows, ``size`` at a time: networks may write to what they are given."""
        for x, y in zip(self._x.split(size), self._y.split(size), strict=True):
            yield x.to(device=self._device, dtype=self._dtype, copy=True), y.to(self._device)


def epoch_ids(orders: Sequence[CommonRows], epoch: int, device: torch.device) -> Iterator[Tensor]:
    """Yield the ids ``(len(orders), B)`` of the rows of every step; they come to the device once an epoch.

    All orders have equally many rows in each step.
    """
    steps = [[step.shared for step in order.epoch(epoch)] for order in orders]
    whole = torch.stack([torch.cat(order_ids) for order_ids in steps]).to(device)
    yield from whole.split([len(ids) for ids in steps[0]], dim=1)


def ids_on(device: torch.device, steps: Iterator[BatchIds]) -> Iterator[BatchIds]:
    """Return the steps of one epoch, moved to the device in one go."""
    if device.type == "cpu":
        return steps
    return joined(list(steps), device)


def joined(steps: Sequence[BatchIds], device: torch.device) -> Iterator[BatchIds]:
    """Yield the same steps as parts of a few tensors on ``device``."""
    parts = (_joined([getattr(step, name) for step in steps], device) for name in ("shared", "private", "member"))
    for shared, private, member in zip(*parts, strict=True):
        assert shared is not None
        yield BatchIds(shared, private, member)


def _joined(tensors: Sequence[Tensor | None], device: torch.device) -> Iterator[Tensor | None]:
    present = [tensor for tensor in tensors if tensor is not None]
    if not present:
        return repeat(None, len(tensors))
    whole = torch.cat(present, dim=-1).to(device)
    parts = iter(whole.split([tensor.shape[-1] for tensor in present], dim=-1))
    return iter([None if tensor is None else next(parts) for tensor in tensors])
