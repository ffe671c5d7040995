"""Test rows as networks see them, and those of a class that are nearest to each target: what poison is made from."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gradshape import models

# Bytes that a pass over rows may take.
_AT_ONCE = 1 << 26


def features_of(network: nn.Module, x: Tensor) -> Tensor:
    """Penultimate features ``(n, f)`` of rows ``x (n, *shape)``, taken a part at a time and without gradients.

    >>> features_of(nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)), torch.rand(4, 3)).shape
    torch.Size([4, 5])
    """
    with torch.no_grad():
        return torch.cat([models.penultimate(network, part) for part in x.split(rows_at_once(network, x))])


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


def mean_distance(goals: Sequence[Tensor], features: Sequence[Tensor]) -> Tensor:
    """``(T, n)`` Euclidean distances of targets ``(T, f)`` from rows ``(n, f)``, mean over networks."""
    exact = "donot_use_mm_for_euclid_dist"
    pairs = zip(goals, features, strict=True)
    return torch.stack([torch.cdist(goal, of_rows, compute_mode=exact) for goal, of_rows in pairs]).mean(0)


def nearest_of_class(distance: Tensor, labels: Tensor, wanted: Tensor, count: int) -> list[Tensor]:
    """The rows of the wanted class that are nearest to each target, nearest first: ``count``, or all that there are.

    Args:
        distance: ``(T, n)``.
        labels: ``(n,)`` int64 classes of the rows.
        wanted: ``(T,)`` int64.
        count: at least 1.

    Returns:
        for each target ``(at most count,)`` int64 ids.

    >>> distance = torch.tensor([[3.0, 1.0, 2.0, 0.0], [3.0, 1.0, 2.0, 0.0]])
    >>> [ids.tolist() for ids in nearest_of_class(distance, torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1]), 2)]
    [[1, 2], [3]]
    """
    of_class = {label: (labels == label).nonzero().squeeze(1) for label in wanted.unique().tolist()}
    return [
        rows[of_target[rows].argsort(stable=True)[:count]]
        for of_target, label in zip(distance, wanted.tolist(), strict=True)
        for rows in [of_class[label]]
    ]
