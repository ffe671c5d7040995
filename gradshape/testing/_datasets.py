"""Small data sets, made on the spot, that objects are tried on."""

import torch
from torch import Tensor

from gradshape.data import Dataset, Split


def blobs(
    *,
    rows: int = 44,
    test: int = 40,
    shape: tuple[int, ...] = (5,),
    classes: int = 3,
    spread: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """Make one blob a class, overlapping unless ``spread`` is small; every class has rows."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(classes, *shape, generator=generator)

    def split(count: int) -> Split:
        y = torch.arange(count) % classes
        noise = torch.randn(count, *shape, generator=generator)
        return Split((centres[y] + spread * noise).clamp(0, 1), y)

    return Dataset("blobs", split(rows), split(test), num_classes=classes)


def words(*, rows: int = 60, words: int = 12, seed: int = 0) -> Dataset:
    """Make messages by the words that they hold: the first third is commoner in class 1, the second in class 0."""
    generator = torch.Generator().manual_seed(seed)
    lean = torch.tensor([0.3, -0.3, 0.0]).repeat_interleave(words // 3)

    def split(count: int) -> Split:
        y = torch.arange(count) % 2
        chance = 0.4 + lean * (2 * y[:, None] - 1)
        return Split((torch.rand(count, words, generator=generator) < chance).float(), y)

    return Dataset("words", split(rows), split(40), num_classes=2)


def plane_rows(rows: int, *, features: int = 5, noise: float = 0.02, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw ``(rows, features)`` uniform in the box, and values in [0, 1] around ``w . x + b``; both float64.

    The plane is that of the number of features; the seed draws rows and noise.
    """
    w = torch.linspace(-1, 1, features, dtype=torch.float64) * 1.6 / features
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(rows, features, dtype=torch.float64, generator=generator)
    deviation = noise * torch.randn(rows, dtype=torch.float64, generator=generator)
    return x, ((x - 0.5) @ w + 0.5 + deviation).clamp(0, 1)


def plane(*, rows: int = 120, test: int = 200, features: int = 5, noise: float = 0.02, seed: int = 0) -> Dataset:
    """Make a regression task of values on a plane, with noise."""

    def split(count: int, place: int) -> Split:
        x, y = plane_rows(count, features=features, noise=noise, seed=2 * seed + place)
        return Split(x.float(), y.float())

    return Dataset("plane", split(rows, 0), split(test, 1), num_classes=0)
