"""What a layer rule is: from one call of a layer to its per-sample gradients, formed or not."""

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
        inputs: ``(B, ...)`` the layer's input, detached.
        output_grads: ``(B, ...)`` gradients of the summed losses in its output.
        dtype: of norms and of everything that is accumulated.
    """

    inputs: Tensor
    output_grads: Tensor
    dtype: torch.dtype


class LayerGradients(Protocol):
    """The per-sample gradients of one layer's trainable parameters, not necessarily in memory."""

    @property
    def squares(self) -> Tensor:
        """``(B,)`` squared Euclidean norms over the layer's trainable parameters."""
        ...

    def weighted_sum(self, weights: Tensor) -> dict[str, Tensor]:
        """``sum_i weights_i g_i`` for ``(B,)`` weights, by the names of the parameters in the layer.

        With weights ``(K, B / K)`` the samples are those of ``K`` victims one after the other, and the sums have a
        leading victim axis.
        """
        ...


class Rule(Protocol):
    """The per-sample gradients of one type of layer, from its inputs and output gradients.

    A rule sees no parameter values, only shapes and settings, so the samples of several victims may come as one batch.
    """

    def applies(self, layer: Any) -> bool:
        """Whether the rule covers the settings of this layer."""
        ...

    def batch_axes(self, layer: Any, inputs: Tensor) -> Sequence[int]:
        """The axes of ``inputs`` that may hold the batch, in the layer's own layout first."""
        ...

    def gradient_elements(self, layer: Any) -> int:
        """Elements of one sample's gradient if it were formed, 0 where it never is."""
        ...

    def gradients(self, layer: Any, call: Call, *, keep: bool) -> LayerGradients:
        """The gradients of the parameters of ``layer`` that require one.

        ``keep`` says whether those of all samples may be held until the weights are known.
        """
        ...


@dataclass(frozen=True)
class Instantiated:
    """Per-sample gradients that are held: ``(B, *shape)`` for every parameter.

    Attributes:
        gradients: by the names of the parameters in the layer.
        dtype: of norms.
        workspace: where some of them are.
    """

    gradients: Mapping[str, Tensor] = field(repr=False)
    dtype: torch.dtype
    workspace: Workspace | None = field(default=None, repr=False)

    @property
    def squares(self) -> Tensor:
        of_parameters = [row_norms(g, dtype=self.dtype).square() for g in self.gradients.values()]
        return torch.stack(of_parameters).sum(0) if len(of_parameters) > 1 else of_parameters[0]

    def weighted_sum(self, weights: Tensor) -> dict[str, Tensor]:
        return {name: weighted_rows(weights, g) for name, g in self.gradients.items()}


def weighted_rows(weights: Tensor, rows: Tensor) -> Tensor:
    """``(B,)`` weights and ``(B, *shape)`` rows to ``(*shape)``; ``(K, B / K)`` weights to ``(K, *shape)``."""
    weights, shape = weights.to(rows.dtype), rows.shape[1:]
    if weights.dim() == 1:
        return torch.mv(rows.flatten(1).mT, weights).view(shape) if shape else weights.dot(rows)
    victims, size = weights.shape
    return torch.bmm(weights.unsqueeze(1), rows.reshape(victims, size, -1)).view(victims, *shape)


def scaled(weights: Tensor, rows: Tensor) -> Tensor:
    """``(B, ...)`` rows, each times its weight of ``(B,)`` or ``(K, B / K)``."""
    return rows * weights.flatten().to(rows.dtype).view(-1, *[1] * (rows.dim() - 1))


def trainable(parameter: Tensor | None) -> bool:
    """Whether a layer has this parameter and it takes part."""
    return parameter is not None and parameter.requires_grad
