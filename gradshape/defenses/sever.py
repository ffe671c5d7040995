"""SEVER: leave out the rows whose gradients lie far out along the direction in which gradients differ most."""

from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.defenses._assumed import assumed_label, poison_rows, set_assumed_fraction
from gradshape.defenses._spectral_outliers import spectral_outliers
from gradshape.defenses.base import FILTER, Assumptions, Defense, Suspect
from gradshape.learners.linear import Penalty, fit_linear
from gradshape.learners.logistic import fit_logistic, linear_scores
from gradshape.learners.margin_loss import MarginLoss
from gradshape.training import AnyRecipe, known_penalty, loss_of, penalty_of

_CENTRING_FILTERS = 4
_REGRESSION_ROUNDS, _CLASSIFICATION_ROUNDS = 4, 2
# A filter that leaves out more than half of the rows would take poison for the rule.
_MOST_SHARE = 0.5


@dataclass(frozen=True)
class Sever(Defense):
    """Fit a linear model, leave out the rows whose gradients stick out, and begin again.

    A filter takes the gradients of the loss at the fitted model, centres them, and leaves out those that are longest
    along the direction of their largest spread: half as many rows as are poison. See :func:`sever_regression` and
    :func:`sever_classification`; several filters together may leave out more rows than are poison.

    Args:
        fraction: assumed poison rows relative to *clean* rows, in [0, 1]; if ``None``, the defence is told the number
            of poison rows, which is possible in experiments only.
        rounds: number of filters, at least 1; if ``None`` 4 for regression, as in the paper (8 in its code), and 2 for
            classification.
        penalty: of the regression; the victim's own if ``None``. Not used for classification.
        loss: of the classifier, which is one against the rest for more than two classes; if ``None`` the one that the
            victim's learner is registered with, such as the hinge (rounded off over a tenth of the margin) for support
            vector machines, and the logistic loss for others. Not used for regression.
        c: weight of the sum of the classifier's losses relative to half the squared norm of its parameters, > 0.

    Raises:
        ValueError: a number is out of range; when it filters, the task is a regression, the victim is no linear one,
            and no penalty was given.

    Table 2 counts the training data as known: SEVER works on all of it, poison included, and is given no clean rows.

    Diakonikolas et al. 2019, SEVER: a robust meta-algorithm for stochastic optimization; Hong et al. 2020, Table 2.

    >>> from gradshape import data
    >>> rows, defense = data.load("diabetes").train, Sever(fraction=0.1, penalty=Penalty(l2=0.01))
    >>> int(defense.filter(rows, generator=torch.Generator().manual_seed(0)).sum())
    248
    """

    fraction: float | None = None
    rounds: int | None = None
    penalty: Penalty | None = None
    _: KW_ONLY
    loss: MarginLoss | None = None
    c: float = 1.0

    small_problems: ClassVar[bool] = True
    assumptions: ClassVar[Assumptions] = replace(
        FILTER,
        knows_model=True,
        source="Diakonikolas et al. 2019, SEVER: a robust meta-algorithm for stochastic optimization",
        knows_budget=True,
    )

    def __post_init__(self) -> None:
        if self.rounds is not None:
            _validate.positive_int(rounds=self.rounds)
        _validate.positive(c=self.c)
        set_assumed_fraction(self, self.fraction)

    def label_for(self, recipe: AnyRecipe) -> str:
        name = assumed_label("sever", self.fraction)
        name += "" if self.rounds is None else f"_r{self.rounds}"
        name += "" if self.penalty is None else f"_{self.penalty.label}"
        name += "" if self.loss is None else f"_{type(self.loss).__name__.lower()}"
        return name if self.c == 1 else f"{name}_c{self.c:g}"

    def refuses(self, recipe: AnyRecipe, *, num_classes: int | None) -> str | None:
        if num_classes == 0 and self.penalty is None and penalty_of(recipe, rows=1) is None:
            return f"it trains linear regressions, and {recipe.model} is none: give it a penalty"
        return None

    def keep(self, train: Suspect, *, generator: torch.Generator) -> Tensor:
        poison = poison_rows(train, self.fraction)
        x = train.x.flatten(1).double()
        if train.num_classes == 0:
            penalty = self.penalty or known_penalty(train.recipe, rows=len(train) - poison)
            rounds = self.rounds or _REGRESSION_ROUNDS
            share = poison / len(train)
            return sever_regression(
                x, train.y.double(), share=share, rounds=rounds, penalty=penalty, generator=generator
            )
        return sever_classification(
            x,
            train.y,
            num_classes=train.num_classes,
            share=poison / len(train),
            rounds=self.rounds or _CLASSIFICATION_ROUNDS,
            loss=self.loss or loss_of(train.recipe),
            ridge=1 / self.c,
            generator=generator,
        )


def sever_regression(
    x: Tensor, y: Tensor, *, share: float, rounds: int, penalty: Penalty, generator: torch.Generator
) -> Tensor:
    """Filter for a linear regression by SEVER.

    Rows are centred at the mean of those that four filters of the rows themselves leave. The gradients are those by
    the weights, ``r_i (x_i - centre)`` with the residuals ``r`` of a fit with an intercept, without the regulariser.
    Neither depends on where the origins of ``x`` and ``y`` are. Every filter leaves out ``share / 2`` of what is left.

    Args:
        x, y: ``(N, d)`` and ``(N,)`` float64.
        share: poison rows relative to *all* rows, in [0, 1]; with 0 every row is kept.
        rounds: number of filters at most; it ends with one that leaves out nothing.
        penalty: of the regression.
        generator: draws the starts of the power iterations.

    Returns:
        ``(N,)`` bool, the rows that are kept.

    Diakonikolas et al. 2019, algorithms 1 and 2. Their code fits no intercept and centres ``y`` at its median instead.
    """
    rate = share / 2
    left = torch.arange(len(y))
    for _ in range(_CENTRING_FILTERS):
        left = left[~spectral_outliers(x[left], share=rate, generator=generator)]
    centred = x - x[left].mean(0)
    kept = torch.arange(len(y))
    for _ in range(rounds):
        fit = fit_linear(centred[kept], y[kept], penalty=penalty)
        residuals = fit.predict(centred[kept]) - y[kept]
        outliers = spectral_outliers(residuals[:, None] * centred[kept], share=rate, generator=generator)
        if not outliers.any():
            break
        kept = kept[~outliers]
    return _mask(kept, len(y))


def sever_classification(
    x: Tensor,
    y: Tensor,
    *,
    num_classes: int,
    share: float,
    rounds: int,
    loss: MarginLoss,
    ridge: float,
    generator: torch.Generator,
) -> Tensor:
    """Filter for linear classifiers by SEVER, class by class; one against the rest if there are more than two.

    The gradients are those by the weights, ``z_i loss'(z_i (w . x_i + b)) x_i``, without the regulariser and the bias,
    one after the other for all classifiers. Each filter judges the rows of one class among themselves and leaves out
    ``share / 2`` of what would be *all* rows (half of the class at most), as all poison may claim one class: of
    ten classes that is a tenth of the clean rows a filter where 2 % are poison.

    Args:
        x, y: ``(N, d)`` float64 and ``(N,)`` int64.
        num_classes: at least 2.
        share: poison rows relative to *all* rows, in [0, 1]; with 0 every row is kept.
        rounds: number of filters of every class at most; they end when no class loses a row.
        loss, ridge: of the classifiers, as for :func:`~gradshape.learners.logistic.fit_logistic`.
        generator: draws the starts of the power iterations.

    Returns:
        ``(N,)`` bool, the rows that are kept.

    Diakonikolas et al. 2019, algorithms 1 and 2, and their code for support vector machines.
    """
    one = torch.ones(len(x), 1, dtype=x.dtype)
    with_bias = torch.cat([x, one], dim=1)
    positive = torch.arange(1, num_classes) if num_classes == 2 else torch.arange(num_classes)
    signs = 2.0 * (y == positive[:, None]).double() - 1
    kept = torch.arange(len(y))
    theta: Tensor | None = None
    for _ in range(rounds):
        theta = fit_logistic(with_bias[kept], signs[:, kept], ridge=ridge, loss=loss, start=theta)
        slopes = signs * loss.slope(signs * linear_scores(with_bias, theta))
        left = []
        for label in range(num_classes):
            members = kept[y[kept] == label]
            if not len(members):
                continue
            gradients = (slopes[:, members].T.unsqueeze(2) * x[members].unsqueeze(1)).flatten(1)
            rate = min(len(kept) / len(members) * share / 2, _MOST_SHARE)
            left.append(members[~spectral_outliers(gradients, share=rate, generator=generator)])
        before, kept = len(kept), torch.cat(left).sort().values
        if len(kept) == before:
            break
    return _mask(kept, len(y))


def _mask(kept: Tensor, rows: int) -> Tensor:
    keep = torch.zeros(rows, dtype=torch.bool)
    keep[kept] = True
    return keep
