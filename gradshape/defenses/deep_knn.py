"""Deep k-NN: leave out the rows that most of their neighbours in feature space contradict."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.defenses._feature_space import lacks_features, suspect_features
from gradshape.defenses.base import FILTER, Assumptions, Defense, Suspect
from gradshape.training import AnyRecipe


@dataclass(frozen=True)
class DeepKNN(Defense):
    """Leave out a row if another label than its own is the most frequent among its nearest rows in feature space.

    Poison whose features collide with a target's lies among rows of the target's class, which outvote it, unless there
    are as many poison rows around the target as rows of its class. So the number ``K`` of rows that vote has to be at
    least twice that of the poison rows, as ``K = 2 budget N / C`` is (for ``N`` rows of ``C`` classes, rounded) if all
    poison is for one target.

    ``K`` is at least 3, since nobody is outvoted by fewer, and for each row at most the number of rows of its own
    class: a class with fewer rows than ``K`` could be outvoted everywhere. A class all of whose rows are outvoted keeps
    the row that is nearest to its centroid, so that the victim still learns all classes.

    Args:
        budget: poison rows that are assumed, as a share of the mean number of rows of a class, above 0 and at most 1.
        k: number of rows that vote, the row itself among them, at least 1; the same cap holds. With 1 or 2, no row is
            left out. ``None`` to compute it from the budget.

    Raises:
        ValueError: a number is out of range.

    The row itself votes, as in the authors' code, which sets ``K`` by hand, from 2 to 400, and knows no cap. That they
    recommend one to two times the rows of a class is from memory; the rule by the budget, both bounds, and that a tie
    is decided in favour of the row's own label, are this library's.

    Peri et al. 2020, Deep k-NN defense against clean-label data poisoning attacks.

    >>> from gradshape import data
    >>> from gradshape.defenses import Suspect
    >>> from gradshape.training import SGD, Recipe
    >>> moons, recipe = data.load("two_moons").train, Recipe("mlp1", SGD(0.5), batch_size=50, epochs=5)
    >>> rows = Suspect(moons.x, moons.y, num_classes=2, assumptions=DeepKNN.assumptions, recipe=recipe)
    >>> mask = DeepKNN(0.05).filter(rows, generator=torch.Generator().manual_seed(0))
    >>> 0 < int((~mask).sum()) < 100
    True
    """

    budget: float = 0.05
    k: int | None = None

    assumptions: ClassVar[Assumptions] = replace(
        FILTER,
        indiscriminate=False,
        targeted=True,
        knows_model=True,
        source="Peri et al. 2020, Deep k-NN defense against clean-label data poisoning attacks",
    )

    def __post_init__(self) -> None:
        _validate.positive_fraction(budget=self.budget)
        if self.k is not None:
            _validate.positive_int(k=self.k)

    def label_for(self, recipe: AnyRecipe) -> str:
        return f"deep_knn_{100 * self.budget:g}{'' if self.k is None else f'_k{self.k}'}"

    def refuses(self, recipe: AnyRecipe, *, num_classes: int | None) -> str | None:
        return lacks_features(recipe, num_classes)

    def keep(self, train: Suspect, *, generator: torch.Generator) -> Tensor:
        k = self.k or voters(train.y, budget=self.budget)
        features = suspect_features(train, generator=generator)
        return with_every_class(agrees_with_neighbors(features, train.y, k=k), features, train.y)


def voters(y: Tensor, *, budget: float) -> int:
    """Return ``K = 2 budget N / C``, rounded and at least 3, for ``N`` rows of the ``C`` classes that occur.

    >>> voters(torch.arange(1000) % 10, budget=0.05)
    10
    """
    return max(_FEWEST_VOTERS, round(2 * budget * len(y) / len(y.unique())))


def agrees_with_neighbors(features: Tensor, y: Tensor, *, k: int) -> Tensor:
    """Tell for each row whether its label is a most frequent one among the row and its ``k - 1`` nearest others.

    All pairs are measured, in float64, some rows at a time: the time grows with ``N^2 F``, the memory with ``N F``.
    Which rows of the same distance count as nearest is not determined.

    Args:
        features: ``(N, F)``.
        y: ``(N,)`` int64 labels.
        k: at least 1. For each row at most the number of rows with its label.

    Returns:
        ``(N,)`` bool.

    Raises:
        ValueError: ``k`` is out of range.

    Peri et al. 2020, algorithm 1.

    >>> x = torch.tensor([[0.0], [0.1], [0.2], [0.15], [5.0], [5.1], [5.2]])
    >>> agrees_with_neighbors(x, torch.tensor([0, 0, 0, 1, 1, 1, 1]), k=3).tolist()
    [True, True, True, False, True, True, True]
    """
    _validate.positive_int(k=k)
    rows = features.double()
    classes, place, sizes = y.unique(return_inverse=True, return_counts=True)
    voting = sizes[place].clamp_max(k)
    most = min(k, int(sizes.max())) if len(y) else 0
    agrees = torch.empty(len(y), dtype=torch.bool, device=y.device)
    size = max(1, _CHUNK_ELEMENTS // max(len(rows), 1))
    for first in range(0, len(rows), size):
        part = slice(first, first + size)
        distance = torch.cdist(rows[part], rows)
        own = torch.arange(len(distance), device=y.device)
        # A row is its own nearest, even among copies of it.
        distance[own, first + own] = -1
        nearest = distance.topk(most, dim=1, largest=False).indices
        votes = torch.arange(most, device=y.device) < voting[part, None]
        count = torch.zeros(len(distance), len(classes), dtype=torch.float32, device=y.device)
        count.scatter_add_(1, place[nearest], votes.float())
        agrees[part] = count[own, place[part]] == count.amax(1)
    return agrees


def with_every_class(keep: Tensor, features: Tensor, y: Tensor) -> Tensor:
    """Add to ``keep``, for each class that it leaves out as a whole, the row that is nearest to the class's centroid.

    Args:
        keep: ``(N,)`` bool.
        features: ``(N, F)``.
        y: ``(N,)`` int64 labels.

    Returns:
        ``(N,)`` bool.

    >>> x, y = torch.tensor([[0.0], [1.0], [1.5], [9.0]]), torch.tensor([0, 0, 0, 1])
    >>> with_every_class(torch.tensor([False, False, False, True]), x, y).tolist()
    [False, True, False, True]
    """
    whole = keep.clone()
    for label in y.unique():
        members = (y == label).nonzero().squeeze(1)
        if not keep[members].any():
            rows = features[members].double()
            whole[members[(rows - rows.mean(0)).norm(dim=1).argmin()]] = True
    return whole


# Ties are decided in favour of the row, so that two voters outvote nobody.
_FEWEST_VOTERS = 3
# Number of distances that are held at a time.
_CHUNK_ELEMENTS = 4_000_000
