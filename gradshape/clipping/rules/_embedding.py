"""The rule of ``nn.Embedding``: rows of the table that a sample does not look up have no gradient in it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gradshape.clipping.protocol import row_norms
from gradshape.clipping.rules.base import Call, LayerGradients, scaled


class Embedding:
    """``nn.Embedding``, but for tables that the forward pass renormalises and gradients scaled by frequency."""

    def applies(self, layer: Any) -> bool:
        """Not with ``max_norm`` or ``scale_grad_by_freq``, under which rows of a batch are not independent."""
        return layer.max_norm is None and not layer.scale_grad_by_freq

    def batch_axes(self, layer: Any, inputs: Tensor) -> Sequence[int]:
        """All."""
        return range(inputs.dim())

    def gradient_elements(self, layer: Any) -> int:
        """None: the table is never formed."""
        return 0

    def gradients(self, layer: Any, call: Call, *, keep: bool) -> LayerGradients:
        """Sums over the places that look up the same row."""
        ids = call.inputs.reshape(len(call.inputs), -1)
        d = call.output_grads.reshape(*ids.shape, layer.embedding_dim)
        if layer.padding_idx is not None:
            d = d.masked_fill((ids == layer.padding_idx).unsqueeze(2), 0)
        return LookedUp(ids, d, layer.num_embeddings, call.dtype)


@dataclass(frozen=True)
class LookedUp:
    """``(B, T)`` ids and the gradients ``(B, T, f)`` of what was looked up."""

    ids: Tensor = field(repr=False)
    output_grads: Tensor = field(repr=False)
    rows: int
    dtype: torch.dtype

    @property
    def squares(self) -> Tensor:
        """Gradients of equal ids of a sample are added up before they are squared, so nothing cancels."""
        batch, length = self.ids.shape
        ids, order = self.ids.sort(1)
        # slot[b, t]: number of the t-th place's id among the sample's distinct ids.
        slot = (ids[:, 1:] != ids[:, :-1]).cumsum(1)
        slot = torch.cat([slot.new_zeros(batch, min(1, length)), slot], dim=1)
        slot = slot + torch.arange(batch, device=slot.device).unsqueeze(1) * length
        d = self.output_grads.gather(1, order.unsqueeze(2).expand_as(self.output_grads)).to(self.dtype)
        of_rows = torch.zeros_like(d).view(-1, d.shape[2]).index_add_(0, slot.flatten(), d.flatten(0, 1))
        return row_norms(of_rows.view(batch, -1), dtype=self.dtype).square()

    def weighted_sum(self, weights: Tensor) -> dict[str, Tensor]:
        d = scaled(weights, self.output_grads)
        victims = weights.shape[:-1]
        ids = self.ids.view(*victims, -1)
        if victims:
            ids = ids + torch.arange(victims[0], device=ids.device).unsqueeze(1) * self.rows
        total = d.new_zeros(weights[..., 0].numel() * self.rows, d.shape[2])
        total.index_add_(0, ids.flatten(), d.flatten(0, 1))
        return {"weight": total.view(*victims, self.rows, -1)}
