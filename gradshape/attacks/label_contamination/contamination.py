"""Label contamination: flip the labels that make a linear learner do worst."""

import math
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.attacks._evaluation import Evaluation
from gradshape.attacks.base import ProportionalAttack, VictimView
from gradshape.attacks.label_contamination.label_ascent import Relaxation, contaminate
from gradshape.attacks.label_flip import LabelFlip
from gradshape.attacks.poison_set import PoisonSet
from gradshape.attacks.threat import ON_SVM, Knowledge, ThreatModel
from gradshape.learners.logistic import fit_logistic
from gradshape.learners.margin_loss import Logistic, SmoothedHinge, SquaredMargin


@dataclass(frozen=True)
class Availability:
    """Make the learner wrong: the objective is its mean logistic loss on rows with their true labels."""

    @property
    def label(self) -> str:
        return ""


@dataclass(frozen=True)
class Integrity:
    """Make the learner agree with a model of the attacker's: the objective is minus its mean logistic loss on rows with
    the labels that this model gives them.

    Args:
        angle: degrees in (0, 180] by which the attacker's model is turned from the clean one, in a random plane.
    """

    angle: float = 90.0

    def __post_init__(self) -> None:
        _validate.positive(angle=self.angle)
        if self.angle > 180:
            raise ValueError(f"angle={self.angle!r}: expected degrees in (0, 180]")

    @property
    def label(self) -> str:
        return f"_integrity{self.angle:g}"

    def model(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return the attacker's parameters ``(d,)``, from the clean ones."""
        drawn = torch.randn(len(clean), dtype=clean.dtype, generator=generator).to(clean.device)
        across = drawn - (drawn @ clean) / clean.square().sum() * clean
        angle = math.radians(self.angle)
        turned = math.cos(angle) * clean + math.sin(angle) * across * (clean.norm() / across.norm())
        return turned if len(clean) > 1 else -clean


@dataclass(frozen=True)
class LabelContamination(ProportionalAttack):
    """Flip the labels of training rows in place, those that hurt a linear learner most.

    ``round(fraction * n)`` labels are flipped: the rows keep their features. The attacker trains a linear learner with
    a bias (features and bias are regularised alike). He judges it on rows that are drawn from the training rows and
    never flipped; test rows play no part. He need not know the victim: against the same learner with the same ``ridge``
    the attack is white-box, and against others it is transferred from this substitute. There must be two classes.

    Args:
        fraction: flipped labels relative to the number of rows, from 0 to ``1 - holdout``.
        loss: of the learner: ``Logistic``, ``SquaredMargin`` (least-squares SVM) or ``SmoothedHinge`` of
            :mod:`gradshape.learners.margin_loss`.
        ridge: of the learner, greater than 0, beside the *sum* of the losses: ``1 / C`` of scikit-learn.
        goal: :class:`Availability` or :class:`Integrity`.
        relaxation: of the labels, see :class:`Relaxation`.
        holdout: share of the rows that the attacker judges by, in (0, 1).
        steps, step_size, patience: see :func:`contaminate`.

    Raises:
        ValueError: an argument is out of range.

    Notes the objective without flips and with them: ``clean_objective``, ``objective``. Zhao, An, Gao and Zhang 2017.

    >>> from gradshape import data
    >>> digits = data.load("digits_38")
    >>> poison = LabelContamination(0.1, steps=5)(digits, seed=0)
    >>> len(poison), bool((poison.y != digits.train.y[poison.replaced]).all())
    (28, True)
    """

    loss: Logistic | SquaredMargin | SmoothedHinge = field(default=Logistic())
    ridge: float = 1.0
    _: KW_ONLY
    goal: Availability | Integrity = field(default=Availability())
    relaxation: Relaxation = Relaxation.MIXTURE
    holdout: float = 0.25
    steps: int = 40
    step_size: float = 0.2
    patience: int = 10

    adaptive: ClassVar[bool] = False
    small_problems: ClassVar[bool] = True
    threat: ClassVar[ThreatModel] = replace(
        ON_SVM,
        parameters=Knowledge.NONE,
        source="Zhao et al. 2017, Efficient label contamination attacks against black-box learning models",
    )

    def __post_init__(self) -> None:
        _validate.positive(ridge=self.ridge, step_size=self.step_size)
        _validate.positive_int(steps=self.steps, patience=self.patience)
        _validate.open_fraction(holdout=self.holdout)
        _validate.fraction(fraction=self.fraction)
        if self.fraction > 1 - self.holdout:
            raise ValueError(f"fraction={self.fraction!r}: expected 0 to {1 - self.holdout:g}, which is 1 - holdout")

    @property
    def label(self) -> str:
        learner = {Logistic: "", SquaredMargin: "_squared", SmoothedHinge: "_hinge"}[type(self.loss)]
        margin = "" if self.relaxation is Relaxation.MIXTURE else "_margin"
        return f"label_contamination{learner}{margin}{self.goal.label}_{100 * self.fraction:g}"

    @property
    def control(self) -> LabelFlip:
        return LabelFlip(self.fraction)

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        train = victim.train
        rows = train.x.flatten(1).double()
        x = torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
        signs = 2.0 * train.y.double() - 1
        held = min(max(1, round(self.holdout * len(train))), len(train) - count)
        if held < 1:
            raise ValueError(f"{self.label}: no row of {len(train)} is left to judge by: expected more rows")
        order = torch.randperm(len(train), generator=generator).to(victim.device)
        judged, allowed = order[:held], torch.ones_like(train.y, dtype=torch.bool)
        allowed[judged] = False
        evaluation = self._evaluation(x, signs, judged, generator)
        found = contaminate(
            x,
            signs,
            evaluation,
            budget=count,
            ridge=self.ridge,
            loss=self.loss,
            allowed=allowed,
            relaxation=self.relaxation,
            steps=self.steps,
            step_size=self.step_size,
            patience=self.patience,
            report=victim.report,
        )
        flipped = found.flipped
        notes = {"clean_objective": found.clean, "objective": found.objective}
        return PoisonSet(
            train.x[flipped], 1 - train.y[flipped], source=flipped.clone(), replaced=flipped.clone(), notes=notes
        )

    def _evaluation(self, x: Tensor, signs: Tensor, judged: Tensor, generator: torch.Generator) -> Evaluation:
        if isinstance(self.goal, Availability):
            return Evaluation(x[judged], signs[judged])
        clean = fit_logistic(x, signs, ridge=self.ridge, loss=self.loss)
        scores = x[judged] @ self.goal.model(clean, generator)
        return Evaluation(x[judged], torch.where(scores > 0, 1.0, -1.0).to(x.dtype), weight=-1.0)
