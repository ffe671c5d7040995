"""Penultimate features of many rows, taken a part of the rows at a time to bound memory."""

import torch
from torch import Tensor, nn

from gradshape import models

# Bytes that one pass over rows may take.
_AT_ONCE = 1 << 26


def penultimate_features(network: nn.Module, x: Tensor) -> Tensor:
    """Return the penultimate features ``(n, f)`` of rows ``x (n, *shape)``, without gradients.

    Raises:
        ValueError: a feature is not a finite number, so that distances would say nothing.

    >>> penultimate_features(nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)), torch.rand(4, 3)).shape
    torch.Size([4, 5])
    """
    with torch.no_grad():
        # Copies: networks may write to what they are given.
        features = torch.cat([models.penultimate(network, part.clone()) for part in x.split(rows_per_pass(network, x))])
    broken = int((~features.isfinite().flatten(1).all(1)).sum())
    if broken:
        raise ValueError(
            f"the features of {broken} of {len(x)} rows are not finite: expected finite rows and a network whose "
            "training did not diverge"
        )
    return features


def rows_per_pass(network: nn.Module, x: Tensor, *, copies: int = 8) -> int:
    """Return how many rows to differentiate at once, so that a pass takes 64 MiB at most; at least 1.

    Args:
        network: the network, of which is measured how much it keeps of a row to differentiate.
        x: ``(n, *shape)`` rows, at least 1.
        copies: the number of copies that the caller makes of every row beside that.
    """
    kept = [0]

    def count(tensor: Tensor) -> Tensor:
        kept[-1] += tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor), torch.enable_grad():
        # Weights are kept too, but equally much for any number of rows.
        for rows in (1, 2):
            kept.append(0)
            models.penultimate(network, x[:1].expand(rows, *x.shape[1:]).detach().clone().requires_grad_())
    return max(1, _AT_ONCE // max(1, kept[2] - kept[1] + copies * x[:1].nbytes))
