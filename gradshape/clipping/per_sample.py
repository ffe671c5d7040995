"""The seam between the public functions and the ways of getting at per-sample gradients."""

from collections.abc import Callable
from functools import reduce
from typing import Protocol

import torch
from torch import Tensor, nn

LossFn = Callable[[Tensor, Tensor], Tensor]
Parameters = dict[str, nn.Parameter]


class PerSample(Protocol):
    """The per-sample gradients of one batch, not necessarily in memory."""

    @property
    def norms(self) -> Tensor:
        """``(B,)`` Euclidean norms over all trainable parameters, in :func:`norm_dtype`, detached."""
        ...

    def weighted_sum(self, weights: Tensor) -> dict[str, Tensor]:
        """``sum_i weights_i g_i`` for ``(B,)`` weights: one detached tensor per trainable parameter."""
        ...


def trainable(model: nn.Module) -> Parameters:
    """The parameters that take part, by name; one that has several names comes under the first."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def norm_dtype(model: nn.Module) -> torch.dtype:
    """The widest floating-point dtype of the parameters, float32 at least."""
    dtypes = (p.dtype for p in model.parameters() if p.is_floating_point())
    return reduce(torch.promote_types, dtypes, torch.float32)


def row_norms(rows: Tensor, *, dtype: torch.dtype) -> Tensor:
    """``(B,)`` Euclidean norms of ``(B, ...)``, accumulated in ``dtype``."""
    norms: Tensor = torch.linalg.vector_norm(rows.flatten(1) if rows.dim() > 1 else rows[:, None], dim=1, dtype=dtype)
    return norms


def buffer_copies(model: nn.Module) -> dict[str, Tensor]:
    """Stand-ins for the buffers, so that a forward pass that writes to them leaves the model as it is."""
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


def one_loss_per_sample(losses: object, batch_size: int) -> Tensor:
    """``losses`` unchanged, once its shape is known to be ``(batch_size,)``."""
    if isinstance(losses, Tensor) and losses.shape == (batch_size,):
        return losses
    found = f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else repr(losses)
    raise ValueError(
        f"loss_fn returned {found} for a batch of {batch_size}: expected one loss per sample, shape ({batch_size},); "
        'use reduction="none" and no mean or sum over the batch'
    )
