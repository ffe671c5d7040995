"""Self-attention whose projections are separate calls, so that the rule of linear layers covers them.

``nn.MultiheadAttention`` computes its projections inside one function, where no hook sees them. While gradients are
taken, its forward pass is therefore replaced by :func:`attend`: the same numbers, by two linear layers and an attention
without parameters.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class PackedProjection:
    """The query, key and value projection of ``nn.MultiheadAttention`` as one layer for the rule of linear layers."""

    weight: Tensor
    bias: Tensor | None

    NAMES: ClassVar[Mapping[str, str]] = {"weight": "in_proj_weight", "bias": "in_proj_bias"}


def covers_settings(attention: nn.MultiheadAttention) -> bool:
    """Return whether :func:`attend` covers the settings of ``attention``."""
    return (
        type(attention) is nn.MultiheadAttention
        and "forward" not in vars(attention)
        and attention._qkv_same_embed_dim
        and attention.bias_k is None
        and not attention.add_zero_attn
    )


def attend(
    attention: nn.MultiheadAttention,
    in_projection: Callable[[Tensor], Tensor],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Compute ``nn.MultiheadAttention.forward`` with its projections as separate calls, for self-attention of a batch.

    Any other use is left to that method.
    """
    if query is not key or key is not value or query.dim() != 3 or (is_causal and attn_mask is None):
        return nn.MultiheadAttention.forward(
            attention,
            query,
            key,
            value,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
    x = query if attention.batch_first else query.transpose(0, 1)
    batch, length, width = x.shape
    heads = attention.num_heads
    # The caller knows the batch axis of the input, so the projection keeps the input's layout.
    projected = in_projection(query)
    projected = projected if attention.batch_first else projected.transpose(0, 1)
    q, k, v = projected.unflatten(2, (3, heads, width // heads)).permute(2, 0, 3, 1, 4)
    mask = _mask(attn_mask, key_padding_mask, batch, heads, length, x.dtype)
    dropout = attention.dropout if attention.training else 0.0
    weights = None
    # The fused attention has no batching rule under vmap, so an ensemble takes the other way.
    if need_weights or torch._C._functorch.is_functorch_wrapped_tensor(q):
        scores = (q * math.sqrt(1 / (width // heads))) @ k.mT
        weights = (scores if mask is None else scores + mask).softmax(-1)
        weights = functional.dropout(weights, dropout) if dropout else weights
        mixed = weights @ v
        weights = weights.mean(1) if average_attn_weights else weights
        weights = weights if need_weights else None
    else:
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
    mixed = mixed.transpose(1, 2).flatten(2)
    if not attention.batch_first:
        return attention.out_proj(mixed.transpose(0, 1)), weights
    out = attention.out_proj(mixed)
    # In memory that method's output has the time first, and what a dropout drops depends on the order in memory.
    return out.transpose(0, 1).contiguous().transpose(0, 1) if attention.training else out, weights


def _mask(
    attn_mask: Tensor | None, key_padding_mask: Tensor | None, batch: int, heads: int, length: int, dtype: torch.dtype
) -> Tensor | None:
    """Join both masks into one that is added to ``(B, H, T, T)`` scores."""
    total = None
    if attn_mask is not None:
        total = _added(attn_mask, dtype)
        total = total.view(batch, heads, length, length) if total.dim() == 3 else total
    if key_padding_mask is not None:
        padding = _added(key_padding_mask, dtype).view(batch, 1, 1, length)
        total = padding if total is None else total + padding
    return total


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, -math.inf)
