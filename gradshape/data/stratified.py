"""Random orders of rows in which the classes are spread evenly."""

import torch
from torch import Tensor


def stratified_order(y: Tensor, *, generator: torch.Generator) -> Tensor:
    """Return a random order of all rows in which every stretch has the shares of the classes, as far as rows allow.

    Args:
        y: ``(N,)`` int64 classes, at least 0.
        generator: of the order, on the CPU.

    Returns:
        ``(N,)`` int64 ids, on the CPU.

    >>> order = stratified_order(torch.tensor([0, 0, 0, 0, 1, 1]), generator=torch.Generator().manual_seed(0))
    >>> sorted(order[:3].tolist())[-1] >= 4, sorted(order[3:].tolist())[-1] >= 4
    (True, True)
    """
    order = torch.randperm(len(y), generator=generator)
    labels = y[order.to(y.device)].cpu()
    # A row's rank within its class, divided by the size of the class.
    place = (_ranks(labels).double() + 0.5) / labels.bincount()[labels]
    return order[place.argsort(stable=True)]


def alternating_order(y: Tensor, *, generator: torch.Generator) -> Tensor:
    """Return a random order of all rows that every prefix has the classes in equal numbers of, while rows last.

    Args:
        y: ``(N,)`` int64 classes.
        generator: of the order, on the CPU.

    Returns:
        ``(N,)`` int64 ids, on the CPU.

    >>> y = torch.tensor([0, 0, 0, 0, 1, 1])
    >>> y[alternating_order(y, generator=torch.Generator().manual_seed(0))[:4]].sum()
    tensor(2)
    """
    order = torch.randperm(len(y), generator=generator)
    return order[_ranks(y[order.to(y.device)].cpu()).argsort(stable=True)]


def _ranks(labels: Tensor) -> Tensor:
    """Return ``(N,)`` int64, how many rows of its class stand before each row."""
    ranks = torch.empty(len(labels), dtype=torch.int64)
    for label in labels.unique().tolist():
        members = (labels == label).nonzero()[:, 0]
        ranks[members] = torch.arange(len(members))
    return ranks
