"""StatP: corners of the box, drawn from the moments of the training rows, with values far from their predictions."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from gradshape import _validate
from gradshape.attacks.base import ProportionalAttack, VictimView
from gradshape.attacks.poison_set import PoisonSet
from gradshape.attacks.regression._one_hot import Groups, check_groups, snap
from gradshape.attacks.threat import ON_REGRESSION, Knowledge, ThreatModel
from gradshape.learners.linear import Penalty, fit_linear

_EXTRA_VARIANCE = 0.01


@dataclass(frozen=True)
class StatP(ProportionalAttack):
    """Draw rows like the training rows, push them into corners, and give them the value farthest from the prediction.

    Rows are drawn from the normal distribution with the mean and the covariance of the training rows, with 0.01 more of
    variance in every feature, and every feature is rounded to 0 or 1. Their value is 1 minus what a ridge regression
    predicts there, rounded to 0 or 1. Nothing is optimised.

    Args:
        fraction: poison rows relative to the number of *clean* rows, in [0, 1]. 0 is valid and adds nothing. The paper
            counts relative to all rows: its 20 % is 0.25.
        ridge: penalty of the regression that predicts, per row, > 0. In the paper the victim's model predicts; here it
            is a stand-in that is fitted to the training rows, so that one poison set serves all victims. one_hot:
            groups of columns of which exactly one is 1, in clean rows and in poison.

    Raises:
        ValueError: a number is out of range or a group is not valid.

    Jagielski et al. 2018, Manipulating machine learning, section III-C; numbers as in their code.

    >>> from gradshape import data
    >>> poison = StatP(0.1)(data.load("diabetes"), seed=0)
    >>> poison.x.unique().tolist(), poison.y.unique().tolist()
    ([0.0, 1.0], [0.0, 1.0])
    """

    ridge: float = 0.01
    one_hot: Groups = ()

    # Table 1 counts the paper's attacks as black-box for the training data, of which this one needs two moments only.
    threat: ClassVar[ThreatModel] = replace(
        ON_REGRESSION,
        training_data=Knowledge.EITHER,
        source="Jagielski et al. 2018, Manipulating machine learning: poisoning attacks for regression learning",
    )
    adaptive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _validate.fraction(fraction=self.fraction)
        _validate.positive(ridge=self.ridge)
        check_groups(self.one_hot)

    @property
    def label(self) -> str:
        return f"statp_{100 * self.fraction:g}"

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        x, y = victim.train.x.flatten(1).double(), victim.train.y.double()
        centred = x - x.mean(0)
        covariance = centred.T @ centred / len(x)
        covariance.diagonal().add_(_EXTRA_VARIANCE)
        normal = torch.randn(count, x.shape[1], dtype=torch.float64, generator=generator).to(x.device)
        drawn = x.mean(0) + normal @ torch.linalg.cholesky(covariance).T
        rows = snap(drawn, self.one_hot).clamp(0, 1).round()
        predicted = fit_linear(x, y, penalty=Penalty(l2=self.ridge)).predict(rows)
        values = (1 - predicted.clamp(0, 1)).round()
        return PoisonSet.added(rows.float().reshape(count, *victim.input_shape), values.float())
