"""Groups of features of which exactly one is 1, as in the one-hot code of categories."""

from itertools import chain

import torch
from torch import Tensor

Groups = tuple[tuple[int, ...], ...]


def check_groups(groups: Groups) -> None:
    """Raise ``ValueError`` unless the groups are of two or more columns each, and no column is in two of them."""
    columns = list(chain.from_iterable(groups))
    if any(len(group) < 2 for group in groups) or len(set(columns)) != len(columns) or min(columns, default=0) < 0:
        raise ValueError(
            f"one_hot={groups!r}: expected groups of two or more column ids, without a column in two groups"
        )


def snap(x: Tensor, groups: Groups) -> Tensor:
    """Set the largest entry of every group to 1 and its others to 0, in a copy of rows ``(n, d)``.

    Raises:
        ValueError: a group has a column that the rows do not have.

    >>> snap(torch.tensor([[0.2, 0.4, 0.7]]), ((0, 1),)).tolist()[0][:2]
    [0.0, 1.0]
    """
    snapped = x.clone()
    for group in groups:
        if max(group) >= x.shape[1]:
            raise ValueError(f"one_hot={groups!r}: expected column ids below {x.shape[1]}")
        columns = torch.tensor(group, device=x.device)
        snapped[:, columns] = torch.nn.functional.one_hot(x[:, columns].argmax(1), len(group)).to(x.dtype)
    return snapped
