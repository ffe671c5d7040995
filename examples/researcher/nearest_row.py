"""Training of one's own: there is none, as every new row is what its nearest training row is."""

from collections.abc import Callable

import torch
from torch import Tensor

from gradshape.data import Split


def nearest_row(rows: Split, seed: int) -> Callable[[Tensor], Tensor]:
    """Return what gives each row the class of the nearest training row."""
    return lambda x: rows.y[torch.cdist(x, rows.x).argmin(1)]
