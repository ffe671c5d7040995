"""Batches whose gradients are taken a few rows at a time, and batches whose gradients are all 0."""

from collections.abc import Callable, Collection
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from gradshape.clipping._generators import Draws
from gradshape.clipping._rows import Rows
from gradshape.clipping.protocol import PerSample, layer_names, owner
from gradshape.clipping.structure import Structure


@dataclass(frozen=True)
class ZeroGradients:
    """The :class:`PerSample` of ``rows`` samples whose gradients are all 0; ``rows`` may be 0."""

    structure: Structure = field(repr=False)
    rows: int = 0

    @property
    def layers(self) -> tuple[str, ...]:
        return layer_names(self.structure.parameters)

    @property
    def squares(self) -> Tensor:
        device = next((p.device for p in self.structure.model.parameters()), None)
        return torch.zeros(len(self.layers), self.rows, dtype=self.structure.dtype, device=device)

    @property
    def norms(self) -> Tensor:
        return self.squares.sum(0)

    def weighted_sum(self, weights: Tensor, *, only: Collection[str] | None = None) -> dict[str, Tensor]:
        chosen = {name: p for name, p in self.structure.parameters.items() if only is None or owner(name) in only}
        return {name: torch.zeros_like(p) for name, p in chosen.items()}


class MicrobatchedGradients:
    """The :class:`PerSample` of a batch in microbatches of ``size`` rows, one of which is in memory at a time.

    Args:
        differentiate: maps rows and labels to their :class:`PerSample`.
        x, y: inputs and labels, more than ``size`` rows.
        size: rows of a microbatch, at least 1.
    """

    def __init__(self, differentiate: Callable[[Rows, Rows], PerSample], x: Rows, y: Rows, size: int) -> None:
        self._differentiate = differentiate
        self._parts = list(zip(x.split(size), y.split(size), strict=False))
        draws = Draws(x.device, host=True)
        squares = []
        for rows, labels in self._parts:
            gradients = differentiate(rows, labels)
            squares.append(gradients.squares)
        self._drawn = draws.drawn()
        self.layers = gradients.layers
        self.squares = torch.cat(squares, dim=1)

    @cached_property
    def norms(self) -> Tensor:
        return self.squares.sum(0).sqrt()

    def weighted_sum(self, weights: Tensor, *, only: Collection[str] | None = None) -> dict[str, Tensor]:
        """Differentiate a second time, with the same random numbers."""
        sums: dict[str, Tensor] = {}
        start = 0
        with self._drawn.again() if self._drawn.anything else nullcontext():
            for rows, labels in self._parts:
                part_weights = weights[..., start : start + len(rows)]
                part = self._differentiate(rows, labels).weighted_sum(part_weights, only=only)
                sums = {name: sums[name].add_(total) for name, total in part.items()} if sums else part
                start += len(rows)
        return sums
