"""One poison row as a record can hold it."""

from typing import Any

import torch
from torch import Tensor

from gradshape.attacks import PoisonSet
from gradshape.data import Split


def snapshot(poison: PoisonSet, row: int = 0) -> dict[str, Any]:
    """Return a poison row as plain values: the class that it claims, its shape, and its values as bytes.

    The bytes are in hexadecimal, so that a picture of 784 pixels stays a short line.

    >>> row = PoisonSet.added(torch.tensor([[0.0, 1.0, 0.5]]), torch.tensor([7]))
    >>> snapshot(row)
    {'label': 7, 'shape': [3], 'pixels': '00ff80'}
    """
    return _plain(poison.x[row], poison.y[row])


def with_original(poison: PoisonSet, train: Split, row: int = 0) -> dict[str, Any]:
    """Return the same with the train row that it was made from, as ``original``; without it if there is none.

    >>> clean = Split(torch.tensor([[0.0, 1.0]]), torch.tensor([3]))
    >>> row = PoisonSet.added(torch.tensor([[1.0, 1.0]]), torch.tensor([7]), source=torch.tensor([0]))
    >>> with_original(row, clean)["original"]
    {'label': 3, 'shape': [2], 'pixels': '00ff'}
    """
    source = int(poison.source[row])
    original = {"original": _plain(train.x[source], train.y[source])} if source >= 0 else {}
    return snapshot(poison, row) | original


def _plain(x: Tensor, y: Tensor) -> dict[str, Any]:
    pixels = (x.flatten() * 255).round().to(torch.uint8)
    return {"label": int(y), "shape": list(x.shape), "pixels": bytes(pixels.tolist()).hex()}
