"""What every way of taking per-sample gradients provides, and what they share."""

from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

# Maps what the model returns, and labels, to one loss per sample.
LossFn = Callable[[Any, Any], Tensor]
Parameters = dict[str, nn.Parameter]


class PerSample(Protocol):
    """The per-sample gradients of one batch, not necessarily in memory.

    A layer here is a module that owns trainable parameters, such as a weight and its bias.
    """

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the ``L`` layers, in the order of ``model.named_parameters()``."""
        ...

    @property
    def squares(self) -> Tensor:
        """``(L, B)`` squared Euclidean norms of each layer's part, detached."""
        ...

    @property
    def norms(self) -> Tensor:
        """``(B,)`` Euclidean norms over all trainable parameters, detached."""
        ...

    def weighted_sum(self, weights: Tensor, *, only: Collection[str] | None = None) -> dict[str, Tensor]:
        """Return ``sum_i weights_i g_i`` for ``(B,)`` or ``(L, B)`` weights: a detached tensor per trainable parameter.

        ``only`` names the layers whose sums are returned, which saves the work for the others; ``None`` for all.
        """
        ...


def owner(name: str) -> str:
    """Return the name of the module that owns the parameter of this name: its layer."""
    return name.rpartition(".")[0]


def layer_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the layers of the parameters of these names, in the order of their first parameters."""
    return tuple(dict.fromkeys(owner(name) for name in names))


def row_norms(rows: Tensor, *, dtype: torch.dtype) -> Tensor:
    """Return the ``(B,)`` Euclidean norms of ``(B, ...)`` rows, accumulated in ``dtype``."""
    if rows.dim() != 2:
        rows = rows.flatten(1) if rows.dim() > 1 else rows.unsqueeze(1)
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1, dtype=dtype)
    return norms


def one_loss_per_sample(losses: object, batch_size: int) -> Tensor:
    """Return ``losses`` unchanged, or raise ``ValueError`` if its shape is not ``(batch_size,)``."""
    if isinstance(losses, Tensor) and losses.shape == (batch_size,):
        return losses
    found = f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else repr(losses)
    raise ValueError(
        f"loss_fn returned {found} for a batch of {batch_size}: expected one loss per sample, shape ({batch_size},); "
        'use reduction="none" and no mean or sum over the batch, which is for the loop to take; a ShapedLoss takes it '
        "for modules such as nn.CrossEntropyLoss()"
    )
