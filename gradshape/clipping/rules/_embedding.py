"""The rule of ``nn.Embedding``: a sample has gradients only in the rows of the table that it looks up."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gradshape.clipping.protocol import row_norms
from gradshape.clipping.rules.base import Call, LayerGradients, scaled


class EmbeddingRule:
    """Covers ``nn.Embedding`` unless its forward pass rescales the table or its gradients are scaled by frequency."""

    def applies(self, layer: Any) -> bool:
        """Refuse ``max_norm`` and ``scale_grad_by_freq``, under which the samples of a batch are not independent."""
        return layer.max_norm is None and not layer.scale_grad_by_freq

    def batch_axes(self, layer: Any, activations: Tensor) -> Sequence[int]:
        """Return all axes: ids have no axis of features."""
        return range(activations.dim())

    def gradient_elements(self, layer: Any) -> int:
        """Return 0: a gradient of the whole table is never formed."""
        return 0

    def gradients(self, layer: Any, call: Call, *, keep: bool) -> LayerGradients:
        """Keep the ids and their backprops; places that look up the same row are summed when they are asked for."""
        ids = call.activations.reshape(len(call.activations), -1)
        d = call.backprops.reshape(*ids.shape, layer.embedding_dim)
        if layer.padding_idx is not None:
            d = d.masked_fill((ids == layer.padding_idx).unsqueeze(2), 0)
        return LookedUp(ids, d, layer.num_embeddings, call.dtype)


@dataclass(frozen=True)
class LookedUp:
    """The gradients of a table, as ``(B, T)`` ids and the backprops ``(B, T, f)`` of what was looked up."""

    ids: Tensor = field(repr=False)
    backprops: Tensor = field(repr=False)
    rows: int
    dtype: torch.dtype

    @property
    def squares(self) -> Tensor:
        """Add up the gradients of a sample's equal ids before squaring them, so that no large terms cancel."""
        batch, length = self.ids.shape
        ids, order = self.ids.sort(1)
        # slot[b, t]: number of the t-th place's id among the sample's distinct ids.
        slot = (ids[:, 1:] != ids[:, :-1]).cumsum(1)
        slot = torch.cat([slot.new_zeros(batch, min(1, length)), slot], dim=1)
        slot = slot + torch.arange(batch, device=slot.device).unsqueeze(1) * length
        d = self.backprops.gather(1, order.unsqueeze(2).expand_as(self.backprops)).to(self.dtype)
        row_sums = torch.zeros_like(d).view(-1, d.shape[2]).index_add_(0, slot.flatten(), d.flatten(0, 1))
        return row_norms(row_sums.view(batch, -1), dtype=self.dtype).square()

    def weighted_sum(self, weights: Tensor) -> dict[str, Tensor]:
        d = scaled(weights, self.backprops)
        stack = weights.shape[:-1]
        ids = self.ids.view(*stack, -1)
        if stack:
            ids = ids + torch.arange(stack[0], device=ids.device).unsqueeze(1) * self.rows
        total = d.new_zeros(weights[..., 0].numel() * self.rows, d.shape[2])
        total.index_add_(0, ids.flatten(), d.flatten(0, 1))
        return {"weight": total.view(*stack, self.rows, -1)}
