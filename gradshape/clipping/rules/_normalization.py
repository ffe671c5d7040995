"""The rules of normalisations that do not mix samples: their gradients are small and formed.

A weight multiplies the normalised input, so its gradient is the output gradient times that, summed over the places
that share the weight.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.instancenorm import _InstanceNorm

from gradshape.clipping.rules.base import Call, Instantiated, LayerGradients, trainable


class LastAxes:
    """``nn.LayerNorm`` and ``nn.RMSNorm``: a weight for every place of the last axes.

    Args:
        normalize: the layer and its input to the input as it is before the weight.
    """

    def __init__(self, normalize: Callable[[Any, Tensor], Tensor]) -> None:
        self._normalize = normalize

    def applies(self, layer: Any) -> bool:
        """Always."""
        return True

    def batch_axes(self, layer: Any, inputs: Tensor) -> Sequence[int]:
        """The axes that are not normalised."""
        return range(inputs.dim() - len(layer.normalized_shape))

    def gradient_elements(self, layer: Any) -> int:
        """Few enough not to count."""
        return 0

    def gradients(self, layer: Any, call: Call, *, keep: bool) -> LayerGradients:
        """Sums over the axes that are not normalised."""
        last = len(layer.normalized_shape)
        shared = tuple(range(1, call.inputs.dim() - last))
        return _formed(layer, call, lambda: self._normalize(layer, call.inputs), shared)


class Channels:
    """``nn.GroupNorm``, ``nn.InstanceNorm*d``, and ``nn.BatchNorm*d`` by running statistics: a weight a channel.

    Args:
        normalize: the layer and its input to the input as it is before the weight.
    """

    def __init__(self, normalize: Callable[[Any, Tensor], Tensor]) -> None:
        self._normalize = normalize

    def applies(self, layer: Any) -> bool:
        """Always; that it does not normalise over samples is checked before."""
        return True

    def batch_axes(self, layer: Any, inputs: Tensor) -> Sequence[int]:
        """The first, unless there is no batch."""
        if isinstance(layer, _InstanceNorm):
            return range(inputs.dim() != layer._get_no_batch_dim())
        return range(inputs.dim() >= 2)

    def gradient_elements(self, layer: Any) -> int:
        """Few enough not to count."""
        return 0

    def gradients(self, layer: Any, call: Call, *, keep: bool) -> LayerGradients:
        """Sums over all places of a channel."""
        shared = tuple(range(2, call.inputs.dim()))
        return _formed(layer, call, lambda: self._normalize(layer, call.inputs), shared)


def layer_norm(layer: Any, inputs: Tensor) -> Tensor:
    """What ``nn.LayerNorm`` multiplies by its weight."""
    return functional.layer_norm(inputs, layer.normalized_shape, eps=layer.eps)


def rms_norm(layer: Any, inputs: Tensor) -> Tensor:
    """What ``nn.RMSNorm`` multiplies by its weight."""
    return functional.rms_norm(inputs, layer.normalized_shape, eps=layer.eps)


def group_norm(layer: Any, inputs: Tensor) -> Tensor:
    """What ``nn.GroupNorm`` multiplies by its weight."""
    return functional.group_norm(inputs, layer.num_groups, eps=layer.eps)


def instance_norm(layer: Any, inputs: Tensor) -> Tensor:
    """What ``nn.InstanceNorm*d`` multiplies by its weight."""
    if layer.training or not layer.track_running_stats:
        return functional.instance_norm(inputs, eps=layer.eps)
    return batch_norm(layer, inputs)


def batch_norm(layer: Any, inputs: Tensor) -> Tensor:
    """What ``nn.BatchNorm*d`` in eval mode multiplies by its weight."""
    return functional.batch_norm(inputs, layer.running_mean, layer.running_var, eps=layer.eps)


def _formed(layer: Any, call: Call, normalized: Callable[[], Tensor], shared: tuple[int, ...]) -> LayerGradients:
    def total(rows: Tensor) -> Tensor:
        return rows.sum(shared, dtype=call.dtype).to(rows.dtype) if shared else rows

    gradients = {}
    with torch.no_grad():
        if trainable(layer.weight):
            gradients["weight"] = total(normalized() * call.output_grads)
        if trainable(getattr(layer, "bias", None)):
            gradients["bias"] = total(call.output_grads)
    return Instantiated(gradients, call.dtype)
