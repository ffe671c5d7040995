"""The rule of ``nn.Linear``.

With activations ``A_i`` ``(T, d)`` and backprops ``D_i`` ``(T, p)``, the weight gradient of sample ``i`` is
``D_i^T A_i`` and its bias gradient ``sum_t D_it``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gradshape.clipping.protocol import row_norms
from gradshape.clipping.rules.base import Call, Instantiated, LayerGradients, scaled, trainable
from gradshape.clipping.workspace import Workspace

# Elements of the largest temporary: the samples of a batch are taken in blocks of this size.
_BLOCK_ELEMENTS = 2**22


class LinearRule:
    """Covers ``nn.Linear`` on inputs with any number of axes between batch and features."""

    def applies(self, layer: Any) -> bool:
        """Return true: every setting is covered."""
        return True

    def batch_axes(self, layer: Any, activations: Tensor) -> Sequence[int]:
        """Return all axes but the last, which holds the features."""
        return range(activations.dim() - 1)

    def gradient_elements(self, layer: Any) -> int:
        """Return the number of weights."""
        return int(layer.weight.numel())

    def gradients(self, layer: Any, call: Call, *, keep: bool) -> LayerGradients:
        """Take norms of single rows from the factors, and form or factor gradients of sequences by what costs less.

        One row per sample: Goodfellow 2015, https://arxiv.org/abs/1510.01799.
        """
        weight, bias = trainable(layer.weight), trainable(layer.bias)
        a, d = call.activations, call.backprops
        if a.dim() == 2:
            return OneRow(a, d, weight, bias, call.dtype)
        a, d = a.flatten(1, -2), d.flatten(1, -2)
        bias_grads = {"bias": d.sum(1, dtype=call.dtype).to(d.dtype)} if bias else {}
        if not weight:
            return Instantiated(bias_grads, call.dtype)
        if keep and not ghost_is_cheaper(a.shape[1], a.shape[2], d.shape[2]):
            formed = Workspace((len(d), d.shape[2], a.shape[2]), d)
            torch.bmm(d.mT, a, out=formed.tensor)
            return Instantiated({"weight": formed.tensor, **bias_grads}, call.dtype, formed)
        return Sequences(a, d, bias_grads, call.dtype)


@dataclass(frozen=True)
class OneRow:
    """One row of activations and one of backprops per sample: the gradient's norm is the product of their norms."""

    activations: Tensor = field(repr=False)
    backprops: Tensor = field(repr=False)
    weight: bool
    bias: bool
    dtype: torch.dtype

    @property
    def squares(self) -> Tensor:
        backprop_squares = row_norms(self.backprops, dtype=self.dtype).square()
        if not self.weight:
            return backprop_squares
        activation_squares = row_norms(self.activations, dtype=self.dtype).square()
        return backprop_squares * (activation_squares + 1 if self.bias else activation_squares)

    def weighted_sum(self, weights: Tensor) -> dict[str, Tensor]:
        """Scale the backprops and take one product: the book-keeping of Bu et al. 2023,
        https://arxiv.org/abs/2210.00038.
        """
        return _product(self.activations, scaled(weights, self.backprops), weights, weight=self.weight, bias=self.bias)


@dataclass(frozen=True)
class Sequences:
    """Several rows per sample whose gradients are not held: norms come block by block, sums from one product."""

    activations: Tensor = field(repr=False)
    backprops: Tensor = field(repr=False)
    bias: dict[str, Tensor] = field(repr=False)
    dtype: torch.dtype

    @property
    def squares(self) -> Tensor:
        a, d = self.activations, self.backprops
        length, d_in, d_out = a.shape[1], a.shape[2], d.shape[2]
        norms: Callable[[Tensor, Tensor], Tensor]
        if 2 * length**2 <= d_in * d_out:
            # The terms of the ghost norm cancel, so that a rounding error grows to its square root in the norm: float32
            # is not enough.
            norms, per_row, wide = _ghost, 2 * length**2, torch.float64
        else:
            norms, per_row, wide = _formed, d_in * d_out, self.dtype
        rows = max(1, _BLOCK_ELEMENTS // max(1, per_row))
        blocks = zip(a.split(rows), d.split(rows), strict=True)
        squares = torch.cat([norms(block_a.to(wide), block_d.to(wide)).to(self.dtype) for block_a, block_d in blocks])
        if self.bias:
            squares = squares + Instantiated(self.bias, self.dtype).squares
        return squares

    def weighted_sum(self, weights: Tensor) -> dict[str, Tensor]:
        d = scaled(weights, self.backprops)
        sums = _product(self.activations, d, weights, weight=True, bias=False)
        return sums | (Instantiated(self.bias, self.dtype).weighted_sum(weights) if self.bias else {})


def ghost_is_cheaper(length: int, d_in: int, d_out: int) -> bool:
    """Return whether a norm from inner products in float64 (a ghost norm) takes less time than forming the gradient.

    A sample has ``length`` rows of ``d_in`` inputs and ``d_out`` outputs. A formed gradient replaces the weighted
    product, but that is one large product, and a formed gradient is written once and read twice. The constants are
    measured. Bu et al. 2022, https://arxiv.org/abs/2205.10683, compare memory instead.
    """
    return 4 * length**2 * (d_in + d_out) < (24 + 0.67 * length) * d_in * d_out


def _product(a: Tensor, scaled_backprops: Tensor, weights: Tensor, *, weight: bool, bias: bool) -> dict[str, Tensor]:
    stack = weights.shape[:-1]
    a = a.reshape(*stack, -1, a.shape[-1])
    d = scaled_backprops.reshape(*stack, -1, scaled_backprops.shape[-1])
    sums = {}
    if weight:
        sums["weight"] = d.mT @ a.to(d.dtype)
    if bias:
        sums["bias"] = d.sum(-2)
    return sums


def _ghost(a: Tensor, d: Tensor) -> Tensor:
    """Return ``<A_i A_i^T, D_i D_i^T>``, clamped, as it can come out slightly below 0.

    Li et al. 2022, https://arxiv.org/abs/2110.05679.
    """
    return ((a @ a.mT) * (d @ d.mT)).sum((1, 2)).clamp(min=0)


def _formed(a: Tensor, d: Tensor) -> Tensor:
    """Return ``|D_i^T A_i|^2``."""
    return row_norms(d.mT @ a, dtype=a.dtype).square()
