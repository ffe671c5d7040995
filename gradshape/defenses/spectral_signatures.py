"""Spectral signatures: leave out the rows that lie farthest out along the direction in which their class spreads."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.defenses._feature_space import lacks_features, suspect_features
from gradshape.defenses.base import FILTER, Assumptions, Defense, Suspect
from gradshape.defenses.removal import keep_lowest
from gradshape.training import AnyRecipe


@dataclass(frozen=True)
class SpectralSignatures(Defense):
    """Leave out, of every class, the rows whose features lie farthest out along the direction of the most spread.

    Where a class holds a group of rows whose features differ from the others' in the same way, that difference is a
    direction of much spread; see :func:`spectral_scores`. Of the ``m`` rows of a class ``1.5 budget m`` are left out,
    as rounded by :func:`~gradshape.defenses.removal.keep_lowest`, clean classes included: the defender does not know
    which class is poisoned.

    Args:
        budget: poison rows that are assumed, as a share of the rows of a class, above 0 and below 2/3.

    Raises:
        ValueError: the share is out of range.

    As in the paper, features are centred. The authors' code leaves them as they are, takes the rows beyond the 85th
    percentile of the scores, and looks at the class that is attacked only, which it is told.

    Tran, Li and Madry 2018, Spectral signatures in backdoor attacks, algorithm 1.

    >>> from gradshape import data
    >>> from gradshape.defenses import Suspect
    >>> from gradshape.training import SGD, Recipe
    >>> moons, recipe = data.load("two_moons").train, Recipe("mlp1", SGD(0.5), batch_size=50, epochs=1)
    >>> rows = Suspect(moons.x, moons.y, num_classes=2, assumptions=SpectralSignatures.assumptions, recipe=recipe)
    >>> mask = SpectralSignatures(0.1).filter(rows, generator=torch.Generator().manual_seed(0))
    >>> int((~mask).sum()), len(mask)
    (105, 700)
    """

    budget: float = 0.05

    assumptions: ClassVar[Assumptions] = replace(
        FILTER,
        indiscriminate=False,
        targeted=True,
        knows_model=True,
        source="Tran, Li and Madry 2018, Spectral signatures in backdoor attacks",
    )

    def __post_init__(self) -> None:
        _validate.positive_fraction(budget=self.budget)
        if self.budget >= 1 / _OVERESTIMATE:
            raise ValueError(f"budget={self.budget!r}: expected a share above 0 and below 2/3")

    def label_for(self, recipe: AnyRecipe) -> str:
        return f"spectral_{100 * self.budget:g}"

    def refuses(self, recipe: AnyRecipe, *, num_classes: int | None) -> str | None:
        return lacks_features(recipe, num_classes)

    def keep(self, train: Suspect, *, generator: torch.Generator) -> Tensor:
        scores = spectral_scores(suspect_features(train, generator=generator), train.y)
        return keep_lowest(scores, train.y, removed=_OVERESTIMATE * self.budget)


def spectral_scores(features: Tensor, y: Tensor) -> Tensor:
    """Score rows by ``((phi - mu_y) . v_y)^2``, the squared distance from the mean of their class along the right
    singular vector ``v_y`` of the largest singular value of the centred features of the class.

    Args:
        features: ``(N, F)``.
        y: ``(N,)`` int64 labels.

    Returns:
        ``(N,)`` float64, at least 0; 0 for a class of one row.

    Tran, Li and Madry 2018, algorithm 1.

    >>> x = torch.tensor([[0.0, 0.0], [0.0, 2.0], [0.0, 1.0], [7.0, 7.0]])
    >>> [round(score, 6) for score in spectral_scores(x, torch.tensor([0, 0, 0, 1])).tolist()]
    [1.0, 1.0, 0.0, 0.0]
    """
    scores = torch.zeros(len(y), dtype=torch.float64, device=features.device)
    for label in y.unique():
        members = y == label
        rows = features[members].double()
        rows = rows - rows.mean(0)
        # Where two directions spread nearly the same, a power iteration would end anywhere between them.
        _, _, directions = torch.linalg.svd(rows, full_matrices=False)
        scores[members] = (rows @ directions[0]).square()
    return scores


# The multiple of the assumed budget that is left out.
_OVERESTIMATE = 1.5
