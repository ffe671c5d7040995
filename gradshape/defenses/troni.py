"""tRONI: reject training rows that turn small models against known targets."""

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
class TargetedRONI(Defense):
    """Targeted RONI: leave out rows that turn small models against the targets when they are added.

    The loop is that of :class:`~gradshape.defenses.RONI`; instead of a quiz set the models are asked the targets, whose
    true labels the defender knows. A row is left out if it flips a target (most trials have the target right without
    the row, and most have it wrong with it), or if for some target it lowers the probability of the true class,
    averaged over the trials, beyond a threshold.

    Args:
        base: rows of each base set; at least as many as classes.
        trials: at least 1.
        threshold: rows with a change of the probability below it are left out; ``Calibrated`` takes it from the changes
            by trusted rows. Fixed ones lie in [-1, 0] to be of use.
        decay: weight decay of the models, above 0.

    Raises:
        ValueError: a number is out of range; when filtering, there are no targets.

    That correctness on known targets takes the place of accuracy is from memory of Suciu et al. 2018, of which no
    code is published; that the probability counts too, the majority among trials and the defaults are this
    library's. With the targets' labels known, this is an upper bound on what a defender can do by such trials.

    Suciu et al. 2018; Hong et al. 2020, section 5.2 and Table 2.

    >>> from gradshape import data
    >>> from gradshape.data import Split
    >>> from gradshape.defenses import Suspect
    >>> moons = data.load("two_moons")
    >>> target = Split(moons.test.x[:1], moons.test.y[:1])
    >>> x, y = moons.train.x[:50], moons.train.y[:50]
    >>> known = {"assumptions": TargetedRONI.assumptions, "clean": moons.train, "targets": target}
    >>> rows = Suspect(x, y, num_classes=2, **known)
    >>> TargetedRONI(trials=2).filter(rows, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([50])
    """

    base: int = 20
    trials: int = 5
    threshold: ImpactThreshold = field(default=Calibrated())
    _: KW_ONLY
    decay: float = 0.1

    small_problems: ClassVar[bool] = True
    assumptions: ClassVar[Assumptions] = replace(
        FILTER,
        indiscriminate=False,
        targeted=True,
        knows_targets=True,
        source="Suciu et al. 2018, When does machine learning FAIL?",
        knows_clean=True,
    )

    def __post_init__(self) -> None:
        _validate.positive_int(base=self.base, trials=self.trials)
        _validate.positive(decay=self.decay)
        check_threshold(self.threshold)

    def label_for(self, recipe: AnyRecipe) -> str:
        return "troni" + settings_label(self)

    def refuses(self, recipe: AnyRecipe, *, num_classes: int | None) -> str | None:
        return lacks_base(num_classes, base=self.base)

    def unsuitable(self, dataset: Dataset, recipe: AnyRecipe) -> str | None:
        return lacks_rows(dataset, base=self.base, rows=self.base + rows_to_calibrate(self.threshold))

    def trusted(self, clean: Split, *, generator: torch.Generator) -> Tensor:
        return self._draw(clean, generator).among(len(clean))

    def _draw(self, clean: Split, generator: torch.Generator) -> TrustedRows:
        return TrustedRows.draw(
            clean.y,
            base=self.base,
            quiz=0,
            trials=self.trials,
            calibration=rows_to_calibrate(self.threshold),
            generator=generator,
        )

    def keep(self, train: Suspect, *, generator: torch.Generator) -> Tensor:
        clean, targets = train.clean, train.targets
        if len(targets) == 0:
            raise ValueError("targets: 0 rows: expected at least 1")
        trusted = self._draw(clean, generator)
        learners = TrialLearners.on(clean, trusted.base, num_classes=train.num_classes, decay=self.decay)
        change, flips = target_impact(learners, train, targets)
        least = self.threshold
        if isinstance(least, Calibrated):
            rows = trusted.calibration
            least = least.threshold(target_impact(learners, Split(clean.x[rows], clean.y[rows]), targets)[0])
        return (change >= least) & ~flips


def target_impact(learners: TrialLearners, rows: Split, targets: Split) -> tuple[Tensor, Tensor]:
    """Measure what each row does to the targets when it is added.

    Args:
        learners: of ``T`` trials.
        rows: ``N`` candidates.
        targets: ``m`` rows with their true labels.

    Returns:
        ``(N,)`` float64 in [-1, 1], the change of the true class's probability, averaged over the trials, of the target
        for which it is lowest; and ``(N,)`` bool, whether most trials have some target right without the row and most
        have it wrong with it.
    """
    asked = targets.x.flatten(1).double().expand(len(learners.x), -1, -1)
    before, right_before = _answers(learners.logits(asked), targets.y)
    changes, flips = [], []
    for logits in learners.logits_with_each(rows.x, rows.y, asked):
        after, right_after = _answers(logits, targets.y)
        changes.append((after - before).amin(-1))
        flips.append((right_before & ~right_after).any(-1))
    return torch.cat([*changes, before.new_empty(0)]), torch.cat([*flips, right_before.new_empty(0)])


def _answers(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean true-class probabilities, and whether most trials are right: ``(..., m)`` of ``(..., T, m, C)``."""
    index = y.view(-1, 1).expand(*logits.shape[:-1], 1)
    probability = logits.softmax(-1).gather(-1, index).squeeze(-1).mean(-2)
    right = (logits.argmax(-1) == y).double().mean(-2) > 0.5
    return probability, right
