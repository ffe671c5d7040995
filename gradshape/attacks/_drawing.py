"""Draw the training rows that poison is made from."""

import torch
from torch import Tensor


def draw_rows(rows: int, count: int, generator: torch.Generator) -> Tensor:
    """Draw ``(count,)`` int64 ids in ``[0, rows)``, without replacement as long as there are enough, else with it."""
    if count <= rows:
        return torch.randperm(rows, generator=generator)[:count]
    return torch.randint(rows, (count,), generator=generator)
