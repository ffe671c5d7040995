"""Poisoning of differentially private learners by edits of training rows, by Ma, Zhu and Hsu 2019."""

import math
from dataclasses import KW_ONLY, dataclass, field, replace
from enum import Enum
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.attacks._evaluation import Cost, Evaluation, ParameterDistance
from gradshape.attacks.base import ProportionalAttack, VictimView
from gradshape.attacks.label_flip import LabelFlip
from gradshape.attacks.poison_set import PoisonSet
from gradshape.attacks.private_learners.row_descent import RowDescent, descend_rows, select_deep, select_shallow
from gradshape.attacks.threat import WHITE_BOX, ThreatModel
from gradshape.learners.private import ObjectivePerturbation, OutputPerturbation, from_ball, to_ball


class ReleaseGoal(Enum):
    """What the attacker wants the released parameters to do.

    Attributes:
        LABEL_AVERSION: have a large mean loss on his rows with their true labels.
        LABEL_TARGET: have a small mean loss on his rows with the opposite labels.
        PARAMETER_TARGET: be near the negative of the parameters that the learner finds on clean rows without noise.
    """

    LABEL_AVERSION = "label_aversion"
    LABEL_TARGET = "label_target"
    PARAMETER_TARGET = "parameter_target"


class RowSelection(Enum):
    """How the rows to edit are chosen.

    Attributes:
        SHALLOW: those with the longest gradients, before any edit.
        DEEP: those that move farthest if all rows may be edited.
    """

    SHALLOW = "shallow"
    DEEP = "deep"


@dataclass(frozen=True)
class PrivateLearnerPoisoning(ProportionalAttack):
    """Edit the features of ``round(fraction * n)`` training rows, in place, against a private linear learner.

    The attacker knows the learner and its noise distribution, but not the noise: he minimises the *mean* cost of what
    it releases by stochastic gradients through its optimality condition (DPV), or the cost without noise (SV, a
    surrogate victim). Labels stay. He judges by rows that are drawn from the training rows and never edited; test rows
    play no part. There must be two classes.

    The private learners of this library see ``(2 x - 1) / sqrt(d)``, which takes the box of valid rows into the unit
    ball that they require, with the corners of the box on the sphere. A row in the box is in the ball, so edited rows
    are projected onto the box. The published attack may use all of the ball.

    Args:
        fraction: edited rows relative to the number of rows, from 0 to ``1 - holdout``.
        learner: the victim, :class:`~gradshape.learners.private.ObjectivePerturbation` or ``OutputPerturbation``.
        aim: what the attacker wants the released parameters to do.
        surrogate: whether he neglects the noise: SV, else DPV.
        selection: how the rows to edit are chosen.
        selection_draws: random vectors that shallow selection averages over, at least 1.
        descent: how rows are moved.
        holdout: share of the rows that the attacker judges by, in (0, 1).

    Raises:
        ValueError: an argument is out of range.

    Notes the mean cost on the attacker's rows before and after, over the same noise: ``clean_cost``, ``cost``. Ma, Zhu
    and Hsu 2019, Data poisoning against differentially-private learners: attacks and defenses.

    >>> from gradshape import data
    >>> digits = data.load("digits_38")
    >>> poison = PrivateLearnerPoisoning(0.1, descent=RowDescent(steps=5), selection_draws=8)(digits, seed=0)
    >>> len(poison), bool((poison.y == digits.train.y[poison.replaced]).all()), poison.notes["cost"] < -0.1
    (28, True, True)
    """

    learner: ObjectivePerturbation | OutputPerturbation = field(default=ObjectivePerturbation(1.0))
    aim: ReleaseGoal = ReleaseGoal.LABEL_AVERSION
    _: KW_ONLY
    surrogate: bool = False
    selection: RowSelection = RowSelection.SHALLOW
    selection_draws: int = 64
    descent: RowDescent = field(default=RowDescent())
    holdout: float = 0.25

    adaptive: ClassVar[bool] = False
    small_problems: ClassVar[bool] = True
    threat: ClassVar[ThreatModel] = replace(
        WHITE_BOX,
        multiclass=False,
        victims="Linear",
        source="Ma et al. 2019, Data poisoning against differentially-private learners: attacks and defenses",
    )

    def __post_init__(self) -> None:
        _validate.positive_int(selection_draws=self.selection_draws)
        _validate.open_fraction(holdout=self.holdout)
        _validate.fraction(fraction=self.fraction)
        if self.fraction > 1 - self.holdout:
            raise ValueError(f"fraction={self.fraction!r}: expected 0 to {1 - self.holdout:g}, which is 1 - holdout")

    @property
    def label(self) -> str:
        deep = "_deep" if self.selection is RowSelection.DEEP else ""
        kind = "sv" if self.surrogate else "dpv"
        return f"{kind}{deep}_{self.learner.label}_{self.aim.value}_{100 * self.fraction:g}"

    @property
    def control(self) -> LabelFlip:
        return LabelFlip(self.fraction)

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        train = victim.train
        x, signs = to_ball(train.x.flatten(1)), 2.0 * train.y.double() - 1
        held = min(max(1, round(self.holdout * len(train))), len(train) - count)
        if held < 1:
            raise ValueError(f"{self.label}: no row of {len(train)} is left to judge by: expected more rows")
        order = torch.randperm(len(train), generator=generator).to(victim.device)
        cost = self._cost(x, signs, order[:held])
        half_width = 1 / math.sqrt(x.shape[1])
        editable = order[held:].sort().values
        if self.selection is RowSelection.SHALLOW:
            rows = select_shallow(
                x,
                signs,
                editable,
                cost,
                self.learner,
                count=count,
                draws=self.selection_draws,
                surrogate=self.surrogate,
                generator=generator,
            )
        else:
            rows = select_deep(
                x,
                signs,
                editable,
                cost,
                self.learner,
                replace(self.descent, attraction=1e-4),
                count=count,
                surrogate=self.surrogate,
                half_width=half_width,
                generator=generator,
            )
        rows = rows.sort().values
        edited = descend_rows(
            x,
            signs,
            rows,
            cost,
            self.learner,
            self.descent,
            surrogate=self.surrogate,
            half_width=half_width,
            generator=generator,
            report=victim.report,
        )
        features = from_ball(edited.x[rows]).clamp(0, 1).float().reshape(count, *victim.input_shape)
        notes = {"clean_cost": edited.clean, "cost": edited.cost}
        return PoisonSet(features, train.y[rows], source=rows.clone(), replaced=rows.clone(), notes=notes)

    def _cost(self, x: Tensor, signs: Tensor, judged: Tensor) -> Cost:
        loss = self.learner.loss
        if self.aim is ReleaseGoal.LABEL_AVERSION:
            return Evaluation(x[judged], signs[judged], weight=-1.0, loss=loss)
        if self.aim is ReleaseGoal.LABEL_TARGET:
            return Evaluation(x[judged], -signs[judged], loss=loss)
        clean = self.learner.solve(x, signs, x.new_zeros(1, x.shape[1]))
        return ParameterDistance(-clean.minima[0])
