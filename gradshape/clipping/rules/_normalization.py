"""The rules of normalisations that do not mix samples, whose gradients are small enough to be formed.

A weight multiplies the normalised input, so its gradient is that input times the backprop, summed over the positions
that share the weight.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.instancenorm import _InstanceNorm

from gradshape.clipping.rules.base import Call, Instantiated, LayerGradients, trainable


class _NormalizationRule:
    """Covers every setting of a normalisation.

    Args:
        normalize: maps the layer and its input to the normalised input, before the weight.
    """

    def __init__(self, normalize: Callable[[Any, Tensor], Tensor]) -> None:
        self._normalize = normalize

    def applies(self, layer: Any) -> bool:
        """Return true: models that normalise over samples are refused before rules are asked."""
        return True

    def gradient_elements(self, layer: Any) -> int:
        """Return 0: there are too few to count."""
        return 0

    def _summed(self, layer: Any, call: Call, shared: tuple[int, ...]) -> LayerGradients:
        """Sum over the axes that share a weight."""

        def total(rows: Tensor) -> Tensor:
            return rows.sum(shared, dtype=call.dtype).to(rows.dtype) if shared else rows

        gradients = {}
        with torch.no_grad():
            if trainable(layer.weight):
                gradients["weight"] = total(self._normalize(layer, call.activations) * call.backprops)
            if trainable(getattr(layer, "bias", None)):
                gradients["bias"] = total(call.backprops)
        return Instantiated(gradients, call.dtype)


class LastAxesRule(_NormalizationRule):
    """Covers ``nn.LayerNorm`` and ``nn.RMSNorm``, which have a weight for every position of the last axes."""

    def batch_axes(self, layer: Any, activations: Tensor) -> Sequence[int]:
        """Return the axes that are not normalised."""
        return range(activations.dim() - len(layer.normalized_shape))

    def gradients(self, layer: Any, call: Call, *, keep: bool) -> LayerGradients:
        """Sum over the axes that are not normalised."""
        return self._summed(layer, call, tuple(range(1, call.activations.dim() - len(layer.normalized_shape))))


class ChannelsRule(_NormalizationRule):
    """Covers ``nn.GroupNorm``, ``nn.InstanceNorm*d`` and ``nn.BatchNorm*d`` in eval mode: a weight a channel."""

    def batch_axes(self, layer: Any, activations: Tensor) -> Sequence[int]:
        """Return the first axis, or none for an input without a batch."""
        if isinstance(layer, _InstanceNorm):
            return range(activations.dim() != layer._get_no_batch_dim())
        return range(activations.dim() >= 2)

    def gradients(self, layer: Any, call: Call, *, keep: bool) -> LayerGradients:
        """Sum over all positions of a channel."""
        return self._summed(layer, call, tuple(range(2, call.activations.dim())))


def layer_norm(layer: Any, activations: Tensor) -> Tensor:
    """Return what ``nn.LayerNorm`` multiplies by its weight."""
    return functional.layer_norm(activations, layer.normalized_shape, eps=layer.eps)


def rms_norm(layer: Any, activations: Tensor) -> Tensor:
    """Return what ``nn.RMSNorm`` multiplies by its weight."""
    return functional.rms_norm(activations, layer.normalized_shape, eps=layer.eps)


def group_norm(layer: Any, activations: Tensor) -> Tensor:
    """Return what ``nn.GroupNorm`` multiplies by its weight."""
    return functional.group_norm(activations, layer.num_groups, eps=layer.eps)


def instance_norm(layer: Any, activations: Tensor) -> Tensor:
    """Return what ``nn.InstanceNorm*d`` multiplies by its weight."""
    if layer.training or not layer.track_running_stats:
        return functional.instance_norm(activations, eps=layer.eps)
    return batch_norm(layer, activations)


def batch_norm(layer: Any, activations: Tensor) -> Tensor:
    """Return what ``nn.BatchNorm*d`` in eval mode multiplies by its weight."""
    return functional.batch_norm(activations, layer.running_mean, layer.running_var, eps=layer.eps)
