"""One poison row as a record can hold it."""

from typing import Any

import torch

from gradshape.attacks import PoisonSet


def snapshot(poison: PoisonSet, row: int = 0) -> dict[str, Any]:
    """Return a poison row as plain values: the class that it claims, its shape, and its values as bytes.

    The bytes are in hexadecimal, so that a picture of 784 pixels stays a short line.

    >>> row = PoisonSet.added(torch.tensor([[0.0, 1.0, 0.5]]), torch.tensor([7]))
    >>> snapshot(row)
    {'label': 7, 'shape': [3], 'pixels': '00ff80'}
    """
    x = poison.x[row]
    pixels = (x.flatten() * 255).round().to(torch.uint8)
    return {"label": int(poison.y[row]), "shape": list(x.shape), "pixels": bytes(pixels.tolist()).hex()}
