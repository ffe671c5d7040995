"""The rule of convolutions, in one to three dimensions.

With ``U_i`` the windows of sample ``i``'s padded input, one column a place of the output, and ``D_i`` its output
gradients, the weight gradient is ``D_i U_i^T``, group by group. Forming it for every sample takes as many operations
as the summed gradient of plain training, and the weighted sum is then nearly free.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gradshape._threads import even_share
from gradshape.clipping.protocol import row_norms
from gradshape.clipping.rules._linear_layer import ghost_is_cheaper
from gradshape.clipping.rules.base import Call, Instantiated, LayerGradients, scaled, trainable
from gradshape.clipping.workspace import Workspace

# Elements of the windows that are laid out at once; they stay in a processor's cache.
_BLOCK_ELEMENTS = {"cpu": 2**20, "cuda": 2**26}


class Conv:
    """``nn.Conv1d``, ``nn.Conv2d``, ``nn.Conv3d``: any stride, padding and its modes, dilation and groups."""

    def applies(self, layer: Any) -> bool:
        """Always."""
        return True

    def batch_axes(self, layer: Any, inputs: Tensor) -> Sequence[int]:
        """The first, unless there is no batch."""
        return range(inputs.dim() == layer.weight.dim())

    def gradient_elements(self, layer: Any) -> int:
        """Those of the weight."""
        return int(layer.weight.numel())

    def gradients(self, layer: Any, call: Call, *, keep: bool) -> LayerGradients:
        """Formed where they may be kept, else by norm and weighted convolution."""
        d = call.output_grads.flatten(2)
        of_bias = {"bias": d.sum(2, dtype=call.dtype).to(d.dtype)} if trainable(layer.bias) else {}
        if not trainable(layer.weight):
            return Instantiated(of_bias, call.dtype)
        windows = _Windows.of(layer, call.inputs)
        length, fan_in, outputs = d.shape[2], layer.weight[0].numel(), layer.out_channels // layer.groups
        if keep and not ghost_is_cheaper(length, fan_in, outputs):
            formed = Workspace((len(d), *layer.weight.shape), d)
            grouped = formed.tensor.view(len(d), layer.groups, outputs, fan_in)
            for rows, u in windows.blocks():
                _form(u, _by_group(d[rows], layer.groups), out=grouped[rows])
            return Instantiated({"weight": formed.tensor, **of_bias}, call.dtype, formed)
        return _Convolved(layer, windows, call.output_grads, of_bias, call.dtype)


@dataclass(frozen=True)
class _Windows:
    """The windows of a batch of padded inputs, as views: ``(B, groups, channels, *kernel, *output)``."""

    padded: Tensor = field(repr=False)
    views: Tensor = field(repr=False)
    spatial: int

    @classmethod
    def of(cls, layer: Any, inputs: Tensor) -> "_Windows":
        padding = layer._reversed_padding_repeated_twice
        if any(padding):
            mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
            inputs = functional.pad(inputs, padding, mode=mode)
        spatial = inputs.dim() - 2
        sizes, strides = inputs.shape[2:], inputs.stride()
        places = [
            (size - dilation * (kernel - 1) - 1) // step + 1
            for size, kernel, step, dilation in zip(sizes, layer.kernel_size, layer.stride, layer.dilation, strict=True)
        ]
        channels = inputs.shape[1] // layer.groups
        views = inputs.as_strided(
            (len(inputs), layer.groups, channels, *layer.kernel_size, *places),
            (
                strides[0],
                strides[1] * channels,
                strides[1],
                *(stride * dilation for stride, dilation in zip(strides[2:], layer.dilation, strict=True)),
                *(stride * step for stride, step in zip(strides[2:], layer.stride, strict=True)),
            ),
            inputs.storage_offset(),
        )
        return cls(inputs, views, spatial)

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Rows of the batch, and their windows laid out as ``(n, groups, fan-in, places)`` until the next block."""
        views = self.views
        fan_in = math.prod(views.shape[2 : 3 + self.spatial])
        places = math.prod(views.shape[3 + self.spatial :])
        per_row = views.shape[1] * fan_in * places
        most = _BLOCK_ELEMENTS["cpu" if views.device.type == "cpu" else "cuda"]
        size = even_share(most // max(1, per_row))
        workspace = Workspace((min(size, len(views)) * per_row,), views)
        for start in range(0, len(views), size):
            rows = slice(start, min(start + size, len(views)))
            count = rows.stop - rows.start
            laid_out = workspace.tensor[: count * per_row]
            laid_out.view(count, *views.shape[1:]).copy_(views[rows])
            yield rows, laid_out.view(count, views.shape[1], fan_in, places)


@dataclass(frozen=True)
class _Convolved:
    """Gradients that are not held: norms block by block, then the weighted sum by one convolution."""

    layer: Any
    windows: _Windows
    output_grads: Tensor = field(repr=False)
    bias: dict[str, Tensor] = field(repr=False)
    dtype: torch.dtype

    @property
    def squares(self) -> Tensor:
        d = self.output_grads.flatten(2)
        groups = self.layer.groups
        outputs, fan_in = self.layer.out_channels // groups, self.layer.weight[0].numel()
        ghost = 2 * d.shape[2] ** 2 <= outputs * fan_in
        squares = torch.zeros(len(d), dtype=self.dtype, device=d.device)
        for rows, u in self.windows.blocks():
            by_group = _by_group(d[rows], groups)
            if ghost:  # In float64, as its terms cancel.
                u, by_group = u.double(), by_group.double()
                inner = ((u.mT @ u) * (by_group.mT @ by_group)).sum((1, 2, 3))
                squares[rows] = inner.clamp(min=0).to(self.dtype)
            else:
                squares[rows] = row_norms(_form(u, by_group), dtype=self.dtype).square()
        if self.bias:
            squares += Instantiated(self.bias, self.dtype).squares
        return squares

    def weighted_sum(self, weights: Tensor) -> dict[str, Tensor]:
        layer, d = self.layer, scaled(weights, self.output_grads)
        if weights.dim() == 1:
            total = _weight_gradient(layer, self.windows.padded, d)
        else:
            parts = zip(self.windows.padded.chunk(len(weights)), d.chunk(len(weights)), strict=True)
            total = torch.stack([_weight_gradient(layer, x, of_victim) for x, of_victim in parts])
        sums = {"weight": total}
        return sums | (Instantiated(self.bias, self.dtype).weighted_sum(weights) if self.bias else {})


@torch.no_grad()
def _weight_gradient(layer: Any, padded: Tensor, output_grads: Tensor) -> Tensor:
    spatial = padded.dim() - 2
    _, total, _ = torch.ops.aten.convolution_backward(
        output_grads,
        padded,
        layer.weight,
        None,
        layer.stride,
        [0] * spatial,
        layer.dilation,
        False,
        [0] * spatial,
        layer.groups,
        [False, True, False],
    )
    return total  # type: ignore[no-any-return]


def _by_group(d: Tensor, groups: int) -> Tensor:
    return d.view(len(d), groups, d.shape[1] // groups, d.shape[2])


def _form(u: Tensor, d: Tensor, *, out: Tensor | None = None) -> Tensor:
    """``(n, groups, fan-in, places)`` and ``(n, groups, outputs, places)`` to ``(n, groups, outputs, fan-in)``."""
    flat = None if out is None else out.flatten(0, 1)
    product = torch.bmm(d.flatten(0, 1), u.flatten(0, 1).mT, out=flat)
    return product.view(*d.shape[:2], d.shape[2], u.shape[2])
