"""The SVD defence: leave out the rows that lie farthest outside the leading subspace of all rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.defenses.base import Suspect
from gradshape.defenses.removal import ShareFilter


@dataclass(frozen=True)
class SVDFilter(ShareFilter):
    """Leave out the rows that lie farthest outside the subspace that holds most of the spectrum of the rows.

    The subspace is spanned by the fewest leading right singular vectors of the matrix of all rows, poison and every
    class together and not centred, that hold a share of the squared singular values. A row's score is the length of its
    part outside. The rows with the highest scores of every class are left out. (The authors' code takes one vector
    fewer than the paper, and adds the centroids of the classes.)

    Args:
        removed: share of each class to leave out, above 0 and below 1; 0.05 in the paper.
        spectrum: share of the sum of the squared singular values that the subspace holds, in (0, 1]; 0.95 in the paper.

    Raises:
        ValueError: a number is out of range.

    Koh, Steinhardt and Liang 2018, section 3.

    >>> from gradshape import data
    >>> train = data.load("two_moons").train
    >>> mask = SVDFilter(0.05).filter(train, generator=torch.Generator().manual_seed(0))
    >>> int((~mask).sum()), len(mask)
    (35, 700)
    """

    spectrum: float = 0.95

    name: ClassVar[str] = "svd"
    letters: ClassVar[Mapping[str, str]] = {"spectrum": "s"}

    def __post_init__(self) -> None:
        super().__post_init__()
        _validate.positive_fraction(spectrum=self.spectrum)

    def scores(self, train: Suspect) -> Tensor:
        return subspace_residuals(train.x, spectrum=self.spectrum)


def subspace_residuals(x: Tensor, *, spectrum: float) -> Tensor:
    """Return ``(N,)`` float64 lengths ``|x - V V^T x|`` of the parts of the rows outside their leading subspace ``V``.

    ``V`` holds the smallest number of leading right singular vectors whose squared singular values sum to at least
    ``spectrum`` of those of all. Rows are not centred.

    Args:
        x: ``(N, *shape)``. Rows that are all 0 have residuals of 0.
        spectrum: in (0, 1]. At 1 residuals are 0 up to rounding.

    Raises:
        ValueError: ``spectrum`` is out of range.

    Koh, Steinhardt and Liang 2018, section 3.

    >>> rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.25]])
    >>> subspace_residuals(rows, spectrum=0.9).tolist()
    [0.0, 0.0, 0.25]
    """
    _validate.positive_fraction(spectrum=spectrum)
    rows = x.flatten(1).double()
    # Eigenvectors of the Gram matrix are exact enough for a subspace that is cut at a share.
    values, vectors = torch.linalg.eigh(rows.T @ rows)
    held = values.flip(0).clamp_min(0).cumsum(0)
    # Rounding must not ask for more than the whole spectrum.
    count = int((held < spectrum * held[-1] * (1 - 1e-12)).sum()) + 1
    basis = vectors[:, -count:]
    outside: Tensor = (rows - rows @ basis @ basis.T).norm(dim=1)
    return outside
