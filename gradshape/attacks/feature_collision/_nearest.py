"""The bases of poison: the test rows of a class that are nearest to each target."""

from collections.abc import Sequence

import torch
from torch import Tensor


def mean_distance(goals: Sequence[Tensor], features: Sequence[Tensor]) -> Tensor:
    """Return ``(T, n)`` Euclidean distances of targets ``(T, f)`` from rows ``(n, f)``, mean over networks."""
    exact = "donot_use_mm_for_euclid_dist"
    pairs = zip(goals, features, strict=True)
    return torch.stack([torch.cdist(goal, rows, compute_mode=exact) for goal, rows in pairs]).mean(0)


def nearest_of_class(distance: Tensor, labels: Tensor, intended: Tensor, count: int) -> list[Tensor]:
    """Find the ``count`` rows of the intended class that are nearest to each target, or all if there are fewer.

    Args:
        distance: ``(T, n)``.
        labels: ``(n,)`` int64 classes of the rows.
        intended: ``(T,)`` int64.
        count: at least 1.

    Returns:
        for each target ``(at most count,)`` int64 ids, nearest first.

    >>> distance = torch.tensor([[3.0, 1.0, 2.0, 0.0], [3.0, 1.0, 2.0, 0.0]])
    >>> [ids.tolist() for ids in nearest_of_class(distance, torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1]), 2)]
    [[1, 2], [3]]
    """
    members = {label: (labels == label).nonzero().squeeze(1) for label in intended.unique().tolist()}
    return [
        rows[distances[rows].argsort(stable=True)[:count]]
        for distances, label in zip(distance, intended.tolist(), strict=True)
        for rows in [members[label]]
    ]
