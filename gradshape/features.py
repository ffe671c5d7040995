"""Rows as networks see them: their penultimate features, a part of the rows at a time."""

import torch
from torch import Tensor, nn

from gradshape import models

# Bytes that a pass over rows may take.
_AT_ONCE = 1 << 26


def features_of(network: nn.Module, x: Tensor) -> Tensor:
    """Penultimate features ``(n, f)`` of rows ``x (n, *shape)``, taken a part at a time and without gradients.

    Raises:
        ValueError: features are not finite numbers; distances from these would say nothing.

    >>> features_of(nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)), torch.rand(4, 3)).shape
    torch.Size([4, 5])
    """
    with torch.no_grad():
        features = torch.cat([models.penultimate(network, part) for part in x.split(rows_at_once(network, x))])
    broken = int((~features.isfinite().flatten(1).all(1)).sum())
    if broken:
        raise ValueError(
            f"the features of {broken} of {len(x)} rows are not finite: expected finite rows and a network whose "
            "training did not diverge"
        )
    return features


def rows_at_once(network: nn.Module, x: Tensor, *, copies: int = 8) -> int:
    """How many rows fit some tens of megabytes, with what a network keeps of them to differentiate; at least 1.

    Args:
        network: any.
        x: ``(n, *shape)`` rows, at least 1.
        copies: that are made of every row beside that.
    """
    kept = [0]

    def count(tensor: Tensor) -> Tensor:
        kept[-1] += tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor), torch.enable_grad():
        # Weights are kept too, whatever the number of rows.
        for rows in (1, 2):
            kept.append(0)
            models.penultimate(network, x[:1].expand(rows, *x.shape[1:]).detach().clone().requires_grad_())
    return max(1, _AT_ONCE // max(1, kept[2] - kept[1] + copies * x[:1].nbytes))
