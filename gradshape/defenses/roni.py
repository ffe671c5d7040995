"""RONI: reject training rows that make a small model worse."""

from dataclasses import KW_ONLY, dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.data import Dataset, Split
from gradshape.defenses.base import FILTER, Assumptions, Defense, Suspect
from gradshape.defenses.inclusion import (
    Calibrated,
    ImpactThreshold,
    TrialLearners,
    TrustedRows,
    check_threshold,
    lacks_base,
    lacks_rows,
    rows_to_calibrate,
    settings_label,
)
from gradshape.training import AnyRecipe


@dataclass(frozen=True)
class RONI(Defense):
    """Reject on negative impact: leave out rows that lower the accuracy of small models when they are added.

    For each of several trials a base set and a quiz set are drawn from the clean rows, which the defender trusts. A
    row's impact is the change of the accuracy on the quiz set when the row is added to the base set, averaged over the
    trials. All rows are measured by the same trials, so that their impacts differ by the rows alone. The model is a
    softmax regression that is fitted exactly (SpamBayes, which RONI was made for, is a naive Bayes filter).

    Args:
        base, quiz: rows of each set, at least 1; there have to be as many base rows as classes.
        trials: at least 1.
        threshold: rows with an impact below it are left out; ``Calibrated`` takes it from the impacts of trusted rows.
            The Adversarial Robustness Toolbox, uncalibrated, takes -0.1.
        decay: weight decay of the models, above 0.

    Raises:
        ValueError: a number is out of range.

    The defaults for ``base``, ``quiz`` and ``trials`` are those of Nelson et al. 2008, from memory. A row that a base
    set contains anyway has next to no impact. RONI does not see poison that is harmless row by row. Every row is
    measured on its own, never in groups: the time grows with rows, trials and classes, and hardly with features.

    Nelson et al. 2008; Barreno et al. 2010; Hong et al. 2020, Table 2.

    >>> from gradshape import data
    >>> from gradshape.defenses import Suspect
    >>> train = data.load("two_moons").train
    >>> rows = Suspect(train.x[:50], train.y[:50], num_classes=2, assumptions=RONI.assumptions, clean=train)
    >>> RONI(trials=2).filter(rows, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([50])
    """

    base: int = 20
    quiz: int = 50
    trials: int = 5
    _: KW_ONLY
    threshold: ImpactThreshold = field(default=Calibrated())
    decay: float = 0.1

    small_problems: ClassVar[bool] = True
    assumptions: ClassVar[Assumptions] = replace(
        FILTER, source="Nelson et al. 2008; Barreno et al. 2010, The security of machine learning", knows_clean=True
    )

    def __post_init__(self) -> None:
        _validate.positive_int(base=self.base, quiz=self.quiz, trials=self.trials)
        _validate.positive(decay=self.decay)
        check_threshold(self.threshold)

    def label_for(self, recipe: AnyRecipe) -> str:
        return "roni" + settings_label(self)

    def refuses(self, recipe: AnyRecipe, *, num_classes: int | None) -> str | None:
        return lacks_base(num_classes, base=self.base)

    def unsuitable(self, dataset: Dataset, recipe: AnyRecipe) -> str | None:
        return lacks_rows(dataset, base=self.base, rows=self.base + self.quiz + rows_to_calibrate(self.threshold))

    def trusted(self, clean: Split, *, generator: torch.Generator) -> Tensor:
        return self._draw(clean, generator).among(len(clean))

    def _draw(self, clean: Split, generator: torch.Generator) -> TrustedRows:
        return TrustedRows.draw(
            clean.y,
            base=self.base,
            quiz=self.quiz,
            trials=self.trials,
            calibration=rows_to_calibrate(self.threshold),
            generator=generator,
        )

    def keep(self, train: Suspect, *, generator: torch.Generator) -> Tensor:
        clean = train.clean
        trusted = self._draw(clean, generator)
        learners = TrialLearners.on(clean, trusted.base, num_classes=train.num_classes, decay=self.decay)
        quiz = Split(clean.x[trusted.quiz], clean.y[trusted.quiz])
        impact = quiz_impact(learners, train, quiz)
        least = self.threshold
        if isinstance(least, Calibrated):
            rows = trusted.calibration
            least = least.threshold(quiz_impact(learners, Split(clean.x[rows], clean.y[rows]), quiz))
        return impact >= least


def quiz_impact(learners: TrialLearners, rows: Split, quiz: Split) -> Tensor:
    """Measure by how much each row changes the accuracy on the quiz sets when it is added, averaged over the trials.

    Args:
        learners: of ``T`` trials.
        rows: ``N`` candidates.
        quiz: ``x (T, q, *shape)`` and ``y (T, q)``.

    Returns:
        ``(N,)`` float64 in [-1, 1]; a multiple of ``1 / (T q)``. Negative: the row does harm.
    """
    asked = quiz.x.flatten(2).double()
    before = _correct(learners.logits(asked), quiz.y)
    after = [_correct(logits, quiz.y) for logits in learners.logits_with_each(rows.x, rows.y, asked)]
    return (torch.cat([*after, before.new_empty(0)]) - before) / quiz.y.numel()


def _correct(logits: Tensor, y: Tensor) -> Tensor:
    return (logits.argmax(-1) == y).sum((-1, -2)).double()
