"""TRIM: keep the rows that a linear regression fits best."""

from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.defenses._assumed import assumed_label, poison_rows, set_assumed_fraction
from gradshape.defenses.base import FILTER, Assumptions, Defense, Suspect
from gradshape.learners.linear import LinearFit, Penalty, fit_linear, training_objective
from gradshape.training import AnyRecipe, known_penalty, penalty_of

_MOST_ROUNDS = 400


@dataclass(frozen=True)
class TRIM(Defense):
    """Keep the rows, as many as are clean, on which a linear regression has the least loss.

    It starts from random rows and alternates between fitting the model to the chosen rows and choosing the rows with
    the smallest squared errors, which ends in a local minimum; of several starts the best end is taken. See
    :func:`trim`.

    Args:
        fraction: assumed poison rows relative to *clean* rows, in [0, 1]; if ``None``, the defence is told the number
            of poison rows, which is possible in experiments only.
        starts: number of starts, at least 1; the authors have 1.
        first: rows that a start begins with, at least 1; if ``None`` as many as are clean, as the authors have. Few of
            them, a little more than there are features, and many starts find a better end where poison is consistent
            with itself: some start is then free of it (as in Rousseeuw and Van Driessen 2006, FAST-LTS).
        penalty: of the regression; the victim's own if ``None``.

    Raises:
        ValueError: a number is out of range; when it filters, the victim is no linear regression and no penalty was
            given.

    Table 2 counts the training data as known: TRIM works on all of it, poison included, and is given no clean rows.

    Jagielski et al. 2018, Manipulating machine learning, section IV; Hong et al. 2020, Table 2.

    >>> from gradshape import data
    >>> rows, defense = data.load("diabetes").train, TRIM(fraction=0.25, penalty=Penalty(l2=0.01))
    >>> int(defense.filter(rows, generator=torch.Generator().manual_seed(0)).sum())
    240
    """

    fraction: float | None = None
    starts: int = 5
    first: int | None = None
    _: KW_ONLY
    penalty: Penalty | None = None

    small_problems: ClassVar[bool] = True
    assumptions: ClassVar[Assumptions] = replace(
        FILTER,
        knows_model=True,
        source="Jagielski et al. 2018, Manipulating machine learning: poisoning attacks for regression learning",
        knows_budget=True,
    )

    def __post_init__(self) -> None:
        _validate.positive_int(starts=self.starts)
        if self.first is not None:
            _validate.positive_int(first=self.first)
        set_assumed_fraction(self, self.fraction)

    def label_for(self, recipe: AnyRecipe) -> str:
        name = assumed_label("trim", self.fraction)
        name += "" if self.starts == 5 else f"_starts{self.starts}"
        name += "" if self.first is None else f"_first{self.first}"
        return name if self.penalty is None else f"{name}_{self.penalty.label}"

    def refuses(self, recipe: AnyRecipe, *, num_classes: int | None) -> str | None:
        if num_classes:
            return "it defends regressions, and this is a classification task"
        if self.penalty is None and penalty_of(recipe, rows=1) is None:
            return f"it trains linear regressions, and {recipe.model} is none: give it a penalty"
        return None

    def keep(self, train: Suspect, *, generator: torch.Generator) -> Tensor:
        count = len(train) - poison_rows(train, self.fraction)
        penalty = self.penalty or known_penalty(train.recipe, rows=count)
        x, y = train.x.flatten(1).double(), train.y.double()
        ends = [trim(x, y, count, penalty=penalty, generator=generator, first=self.first) for _ in range(self.starts)]
        return min(ends, key=lambda end: end.path[-1]).keep


@dataclass(frozen=True, eq=False)
class Trimmed:
    """The end of one start of TRIM.

    Attributes:
        keep: ``(N,)`` bool, the rows chosen.
        fit: the model that they were chosen by.
        path: the training objective on the chosen rows after every round; it never increases.
    """

    keep: Tensor
    fit: LinearFit
    path: tuple[float, ...]


def trim(
    x: Tensor,
    y: Tensor,
    count: int,
    *,
    penalty: Penalty,
    generator: torch.Generator,
    first: int | None = None,
    tolerance: float = 1e-5,
) -> Trimmed:
    """Minimise the training objective over models and over sets of ``count`` rows, from a random set.

    A round fits the model to the chosen rows and then chooses, among *all* rows, those with the smallest squared errors
    (of equal ones the first). Neither can increase half the mean squared error on the chosen rows plus the penalty. The
    rounds end when the choice repeats, when a round gains at most ``tolerance`` of the objective, or after 400.

    Args:
        x, y: ``(N, d)`` and ``(N,)`` float64.
        count: rows to choose, in [1, N].
        penalty: beside the mean over the chosen rows.
        generator: draws the first choice.
        first: number of rows in it; ``count`` if ``None``.
        tolerance: relative, at least 0. In the authors' code it is absolute, on the mean squared error.

    Raises:
        ValueError: ``count`` is out of range.

    Jagielski et al. 2018, algorithm 2.

    >>> x = torch.linspace(0, 1, 9).double()[:, None]
    >>> y = x[:, 0].where(x[:, 0] < 1, 0)  # the last value is off the line
    >>> trim(x, y, 8, penalty=Penalty(), generator=torch.Generator().manual_seed(0)).keep.nonzero().max().item()
    7
    """
    if not 1 <= count <= len(y):
        raise ValueError(f"count={count!r}: expected a number of rows from 1 to {len(y)}")
    chosen = torch.randperm(len(y), generator=generator)[: first or count].sort().values
    path: list[float] = []
    fit = fit_linear(x[chosen], y[chosen], penalty=penalty)
    for _ in range(_MOST_ROUNDS):
        errors = (fit.predict(x) - y).square()
        best = errors.argsort(stable=True)[:count].sort().values
        path.append(training_objective(x[best], y[best], fit, penalty=penalty))
        repeated = torch.equal(best, chosen)
        chosen = best
        if repeated or (len(path) > 1 and path[-2] - path[-1] <= tolerance * path[-2]):
            break
        fit = fit_linear(x[chosen], y[chosen], penalty=penalty, start=fit)
    keep = torch.zeros(len(y), dtype=torch.bool)
    keep[chosen] = True
    return Trimmed(keep, fit, tuple(path))
