"""A data set: two rings, one within the other, with four more values that say nothing."""

import torch

from gradshape.data import Dataset, Split, from_rows


def draw(rows: int, generator: torch.Generator) -> Split:
    angle, noise = 6.3 * torch.rand(rows, generator=generator), torch.randn(rows, 6, generator=generator)
    y = torch.arange(rows) % 2
    circle = torch.stack([angle.cos(), angle.sin()], dim=1) * (1 + y[:, None])
    return Split((0.2 * noise + torch.cat([circle, torch.zeros(rows, 4)], dim=1)).clamp(-3, 3), y)


def rings() -> Dataset:
    """Two rings."""
    generator = torch.Generator().manual_seed(0)
    return from_rows(draw(240, generator), draw(240, generator), name="rings", value_range=(-3, 3))
