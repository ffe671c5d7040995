"""What a layer rule is: it turns one call of a layer into the layer's per-sample gradients, formed or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from gradshape.clipping.protocol import row_norms
from gradshape.clipping.workspace import Workspace


@dataclass(frozen=True)
class Call:
    """One call of a layer in the forward pass of a batch.

    Attributes:
        activations: ``(B, ...)`` the layer's input, detached.
        backprops: ``(B, ...)`` gradients of the summed losses in the layer's output.
        dtype: the dtype in which norms and sums are accumulated.
    """

    activations: Tensor
    backprops: Tensor
    dtype: torch.dtype


class LayerGradients(Protocol):
    """The per-sample gradients of one layer's trainable parameters, not necessarily in memory."""

    @property
    def squares(self) -> Tensor:
        """``(B,)`` squared Euclidean norms over the layer's trainable parameters."""
        ...

    def weighted_sum(self, weights: Tensor) -> dict[str, Tensor]:
        """Return ``sum_i weights_i g_i`` for ``(B,)`` weights, by the names of the parameters in the layer.

        With weights ``(K, B / K)`` the samples are those of ``K`` models one after the other, and the sums have a
        leading model axis.
        """
        ...


class Rule(Protocol):
    """How the per-sample gradients of one type of layer follow from its activations and backprops.

    A rule sees no parameter values, only shapes and settings, so the samples of several models may come as one batch.
    """

    def applies(self, layer: Any) -> bool:
        """Return whether the rule covers the settings of this layer."""
        ...

    def batch_axes(self, layer: Any, activations: Tensor) -> Sequence[int]:
        """Return the axes of ``activations`` that may hold the batch, that of the layer's own layout first."""
        ...

    def gradient_elements(self, layer: Any) -> int:
        """Return the number of elements of one sample's gradient if it is formed, 0 if it never is."""
        ...

    def gradients(self, layer: Any, call: Call, *, keep: bool) -> LayerGradients:
        """Return the gradients of the trainable parameters of ``layer``.

        ``keep`` says whether the gradients of all samples may be held until the weights are known.
        """
        ...


@dataclass(frozen=True)
class Instantiated:
    """Per-sample gradients that are held in memory.

    Attributes:
        grad_samples: ``(B, *shape)`` for every parameter, by its name in the layer.
        dtype: the dtype in which norms are accumulated.
        workspace: the buffer that holds some of them, kept until they are gone.
    """

    grad_samples: Mapping[str, Tensor] = field(repr=False)
    dtype: torch.dtype
    workspace: Workspace | None = field(default=None, repr=False)

    @property
    def squares(self) -> Tensor:
        squares = [row_norms(g, dtype=self.dtype).square() for g in self.grad_samples.values()]
        return torch.stack(squares).sum(0) if len(squares) > 1 else squares[0]

    def weighted_sum(self, weights: Tensor) -> dict[str, Tensor]:
        return {name: weighted_rows(weights, g) for name, g in self.grad_samples.items()}


def weighted_rows(weights: Tensor, rows: Tensor) -> Tensor:
    """Sum ``(B, *shape)`` rows by ``(B,)`` weights to ``(*shape)``, or by ``(K, B / K)`` weights to ``(K, *shape)``."""
    weights, shape = weights.to(rows.dtype), rows.shape[1:]
    if weights.dim() == 1:
        return torch.mv(rows.flatten(1).mT, weights).view(shape) if shape else weights.dot(rows)
    num_models, size = weights.shape
    return torch.bmm(weights.unsqueeze(1), rows.reshape(num_models, size, -1)).view(num_models, *shape)


def scaled(weights: Tensor, rows: Tensor) -> Tensor:
    """Multiply each of the ``(B, ...)`` rows by its weight of ``(B,)`` or ``(K, B / K)``."""
    return rows * weights.flatten().to(rows.dtype).view(-1, *[1] * (rows.dim() - 1))


def trainable(parameter: Tensor | None) -> bool:
    """Return whether a layer has this parameter and trains it."""
    return parameter is not None and parameter.requires_grad
