"""The rule of convolutions, in one to three dimensions.

Let ``U_i`` be the windows of sample ``i``'s padded input, one column per position of the output, and ``D_i`` its
backprops. The weight gradient is ``D_i U_i^T``, group by group. Forming it for every sample takes as many operations
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

# Elements of the windows that are laid out at once: few enough to stay in a processor's cache.
_BLOCK_ELEMENTS = {"cpu": 2**20, "cuda": 2**26}
# Most weights of a group, and what numbers of its channels are multiples of, for which samples are groups of one
# convolution on a processor. In measurements with and without AVX-512 that takes between a tenth of what products take
# and as much, 0.56 of it for the paper's network; beyond, up to six times as much.
_GROUPED_WEIGHTS = 2**14
_GROUPED_CHANNELS = 8


class ConvRule:
    """Covers ``nn.Conv1d``, ``nn.Conv2d`` and ``nn.Conv3d``: any stride, padding and its mode, dilation and groups."""

    def applies(self, layer: Any) -> bool:
        """Return true: every setting is covered."""
        return True

    def batch_axes(self, layer: Any, activations: Tensor) -> Sequence[int]:
        """Return the first axis, or none for an input without a batch."""
        return range(activations.dim() == layer.weight.dim())

    def gradient_elements(self, layer: Any) -> int:
        """Return the number of weights."""
        return int(layer.weight.numel())

    def gradients(self, layer: Any, call: Call, *, keep: bool) -> LayerGradients:
        """Form the gradients where they may be kept and that is cheaper; else keep what norms and sums are made of."""
        d = call.backprops.flatten(2)
        bias_grads = {"bias": d.sum(2, dtype=call.dtype).to(d.dtype)} if trainable(layer.bias) else {}
        if not trainable(layer.weight):
            return Instantiated(bias_grads, call.dtype)
        windows = _Windows.of(layer, call.activations)
        length, fan_in, outputs = d.shape[2], layer.weight[0].numel(), layer.out_channels // layer.groups
        if keep and not ghost_is_cheaper(length, fan_in, outputs):
            if _pays_as_groups(layer, windows.padded, call.backprops):
                own = _weight_gradients_of_rows(layer, windows.padded, call.backprops)
                return Instantiated({"weight": own, **bias_grads}, call.dtype)
            formed = Workspace((len(d), *layer.weight.shape), d)
            grouped = formed.tensor.view(len(d), layer.groups, outputs, fan_in)
            for rows, u in windows.blocks():
                _form(u, _by_group(d[rows], layer.groups), out=grouped[rows])
            return Instantiated({"weight": formed.tensor, **bias_grads}, call.dtype, formed)
        return _Convolved(layer, windows, call.backprops, bias_grads, call.dtype)


@dataclass(frozen=True)
class _Windows:
    """The windows of a batch of padded inputs, as views: ``(B, groups, channels, *kernel, *output)``."""

    padded: Tensor = field(repr=False)
    views: Tensor = field(repr=False)
    spatial: int

    @classmethod
    def of(cls, layer: Any, activations: Tensor) -> "_Windows":
        padding = layer._reversed_padding_repeated_twice
        if any(padding):
            mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
            activations = functional.pad(activations, padding, mode=mode)
        spatial = activations.dim() - 2
        sizes, strides = activations.shape[2:], activations.stride()
        places = [
            (size - dilation * (kernel - 1) - 1) // step + 1
            for size, kernel, step, dilation in zip(sizes, layer.kernel_size, layer.stride, layer.dilation, strict=True)
        ]
        channels = activations.shape[1] // layer.groups
        views = activations.as_strided(
            (len(activations), layer.groups, channels, *layer.kernel_size, *places),
            (
                strides[0],
                strides[1] * channels,
                strides[1],
                *(stride * dilation for stride, dilation in zip(strides[2:], layer.dilation, strict=True)),
                *(stride * step for stride, step in zip(strides[2:], layer.stride, strict=True)),
            ),
            activations.storage_offset(),
        )
        return cls(activations, views, spatial)

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield rows of the batch and their windows ``(n, groups, fan-in, positions)``, valid until the next block."""
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
    """Gradients that are not held: norms come block by block, sums from one convolution."""

    layer: Any
    windows: _Windows
    backprops: Tensor = field(repr=False)
    bias: dict[str, Tensor] = field(repr=False)
    dtype: torch.dtype

    @property
    def squares(self) -> Tensor:
        d = self.backprops.flatten(2)
        groups = self.layer.groups
        outputs, fan_in = self.layer.out_channels // groups, self.layer.weight[0].numel()
        ghost = 2 * d.shape[2] ** 2 <= outputs * fan_in
        squares = torch.zeros(len(d), dtype=self.dtype, device=d.device)
        for rows, u in self.windows.blocks():
            by_group = _by_group(d[rows], groups)
            if ghost:  # Its terms cancel, so that float32 is not enough.
                u, by_group = u.double(), by_group.double()
                inner = ((u.mT @ u) * (by_group.mT @ by_group)).sum((1, 2, 3))
                squares[rows] = inner.clamp(min=0).to(self.dtype)
            else:
                squares[rows] = row_norms(_form(u, by_group), dtype=self.dtype).square()
        if self.bias:
            squares += Instantiated(self.bias, self.dtype).squares
        return squares

    def weighted_sum(self, weights: Tensor) -> dict[str, Tensor]:
        layer, d = self.layer, scaled(weights, self.backprops)
        if weights.dim() == 1:
            total = _weight_gradient(layer, self.windows.padded, d)
        else:
            parts = zip(self.windows.padded.chunk(len(weights)), d.chunk(len(weights)), strict=True)
            total = torch.stack([_weight_gradient(layer, padded, own) for padded, own in parts])
        sums = {"weight": total}
        return sums | (Instantiated(self.bias, self.dtype).weighted_sum(weights) if self.bias else {})


def _pays_as_groups(layer: Any, padded: Tensor, backprops: Tensor) -> bool:
    """Return whether the convolution of a processor forms the gradients of all rows faster than products do."""
    if padded.device.type != "cpu" or {padded.dtype, backprops.dtype} != {torch.float32}:
        return False
    inputs, outputs, kernel = layer.weight.shape[1], layer.out_channels // layer.groups, layer.weight[0, 0].numel()
    blocked = inputs % _GROUPED_CHANNELS == outputs % _GROUPED_CHANNELS == 0 or inputs == outputs == 1
    suits = blocked and kernel > 1 and inputs * outputs * kernel <= _GROUPED_WEIGHTS
    return bool(suits and set(layer.dilation) == {1} and torch.backends.mkldnn.is_available())


def _weight_gradients_of_rows(layer: Any, padded: Tensor, backprops: Tensor) -> Tensor:
    """Return the weight gradient of each row, ``(B, *weight)``: rows are groups of one convolution of a single row."""
    rows, shape = len(padded), layer.weight.shape
    # Of the weights, only the shape is looked at.
    weight = layer.weight.new_empty((rows * shape[0], *shape[1:]))
    as_groups = [part.reshape(1, -1, *part.shape[2:]) for part in (padded, backprops)]
    return _weight_gradient(layer, *as_groups, weight=weight, groups=rows * layer.groups).view(rows, *shape)


@torch.no_grad()
def _weight_gradient(
    layer: Any, padded: Tensor, backprops: Tensor, *, weight: Tensor | None = None, groups: int | None = None
) -> Tensor:
    spatial = padded.dim() - 2
    _, total, _ = torch.ops.aten.convolution_backward(
        backprops,
        padded,
        layer.weight if weight is None else weight,
        None,
        layer.stride,
        [0] * spatial,
        layer.dilation,
        False,
        [0] * spatial,
        layer.groups if groups is None else groups,
        [False, True, False],
    )
    return total  # type: ignore[no-any-return]


def _by_group(d: Tensor, groups: int) -> Tensor:
    return d.view(len(d), groups, d.shape[1] // groups, d.shape[2])


def _form(u: Tensor, d: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Multiply ``(n, groups, fan-in, k)`` and ``(n, groups, outputs, k)`` to ``(n, groups, outputs, fan-in)``."""
    flat = None if out is None else out.flatten(0, 1)
    product = torch.bmm(d.flatten(0, 1), u.flatten(0, 1).mT, out=flat)
    return product.view(*d.shape[:2], d.shape[2], u.shape[2])
