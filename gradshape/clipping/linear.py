"""The closed form for ``nn.Linear``: norms and weighted sums of per-sample gradients that are never formed.

With inputs ``A_i`` ``(T, d)`` and output gradients ``D_i`` ``(T, p)``, the weight gradient of sample ``i`` is
``D_i^T A_i`` and its bias gradient ``sum_t D_it``.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gradshape.clipping.per_sample import row_norms

# Elements of the largest temporary: rows of a batch are worked off in blocks of this size.
_BLOCK_ELEMENTS = 2**24


def squared_norms(layer: nn.Linear, inputs: Tensor, output_grads: Tensor, *, dtype: torch.dtype) -> Tensor:
    """``(B,)`` squared norms of the trainable part of the layer's per-sample gradients, in ``dtype``.

    Args:
        layer: its ``requires_grad`` flags say which parameters count.
        inputs: ``(B, ..., d)``.
        output_grads: ``(B, ..., p)``, the gradients of the summed losses.
        dtype: of the result and of everything accumulated.

    One row per sample: Goodfellow 2015, https://arxiv.org/abs/1510.01799. Several: the ghost norm of Li et al. 2022,
    https://arxiv.org/abs/2110.05679, where it takes less memory, Bu et al. 2022, https://arxiv.org/abs/2205.10683.
    """
    bias = layer.bias is not None and layer.bias.requires_grad
    if inputs.dim() == 2:
        of_outputs = row_norms(output_grads, dtype=dtype).square()
        if not layer.weight.requires_grad:
            return of_outputs
        of_inputs = row_norms(inputs, dtype=dtype).square()
        return of_outputs * (of_inputs + 1 if bias else of_inputs)
    a, d = inputs.flatten(1, -2), output_grads.flatten(1, -2)
    total = torch.zeros(len(a), dtype=dtype, device=a.device)
    if layer.weight.requires_grad:
        total += _weight_squared_norms(a, d, dtype)
    if bias:
        total += row_norms(d.sum(1, dtype=dtype), dtype=dtype).square()
    return total


def weighted_sum(layer: nn.Linear, inputs: Tensor, output_grads: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """``sum_i weights_i g_i`` for the trainable parameters of the layer, by their names in it.

    Bu et al. 2023, https://arxiv.org/abs/2210.00038 (book-keeping).
    """
    a = inputs.flatten(0, -2).to(layer.weight.dtype)
    by_sample = weights.to(output_grads.dtype).view(-1, *[1] * (output_grads.dim() - 1))
    d = (by_sample * output_grads).flatten(0, -2).to(layer.weight.dtype)
    sums = {}
    if layer.weight.requires_grad:
        sums["weight"] = d.T @ a
    if layer.bias is not None and layer.bias.requires_grad:
        sums["bias"] = d.sum(0).to(layer.bias.dtype)
    return sums


def _weight_squared_norms(a: Tensor, d: Tensor, dtype: torch.dtype) -> Tensor:
    length, d_in, d_out = a.shape[1], a.shape[2], d.shape[2]
    norms: Callable[[Tensor, Tensor], Tensor]
    if 2 * length**2 <= d_in * d_out:
        # The terms of the ghost norm cancel, so a rounding is worth its square root in the norm: float32 is not enough.
        norms, per_row, wide = _ghost, 2 * length**2, torch.float64
    else:
        norms, per_row, wide = _instantiated, d_in * d_out, dtype
    rows = max(1, _BLOCK_ELEMENTS // max(1, per_row))
    blocks = zip(a.split(rows), d.split(rows), strict=True)
    return torch.cat([norms(block_a.to(wide), block_d.to(wide)).to(dtype) for block_a, block_d in blocks])


def _ghost(a: Tensor, d: Tensor) -> Tensor:
    """``<A_i A_i^T, D_i D_i^T>``, which can come out slightly below 0."""
    return ((a @ a.mT) * (d @ d.mT)).sum((1, 2)).clamp(min=0)


def _instantiated(a: Tensor, d: Tensor) -> Tensor:
    """``|D_i^T A_i|^2``."""
    return row_norms(d.mT @ a, dtype=a.dtype).square()
