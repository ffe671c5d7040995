"""Values on a plane over the unit box, with noise: what linear regressions are tried on."""

import torch
from torch import Tensor

from gradshape.data import Dataset, Split


def plane_rows(rows: int, *, features: int = 5, noise: float = 0.02, seed: int = 0) -> tuple[Tensor, Tensor]:
    """``(rows, features)`` uniform in the box, and values in [0, 1] around ``w . x + b``; both float64.

    The plane is that of the number of features; the seed draws rows and noise.
    """
    w = torch.linspace(-1, 1, features, dtype=torch.float64) * 1.6 / features
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(rows, features, dtype=torch.float64, generator=generator)
    deviation = noise * torch.randn(rows, dtype=torch.float64, generator=generator)
    return x, ((x - 0.5) @ w + 0.5 + deviation).clamp(0, 1)


def plane(*, rows: int = 120, test: int = 200, features: int = 5, noise: float = 0.02, seed: int = 0) -> Dataset:
    """The same as a task."""

    def split(count: int, place: int) -> Split:
        x, y = plane_rows(count, features=features, noise=noise, seed=2 * seed + place)
        return Split(x.float(), y.float())

    return Dataset("plane", split(rows, 0), split(test, 1), num_classes=0)
