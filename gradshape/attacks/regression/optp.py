"""OptP: gradient ascent on poison rows and values that a linear regression is fitted to."""

from dataclasses import KW_ONLY, dataclass, replace
from enum import Enum
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.attacks._drawing import draw_rows
from gradshape.attacks.base import ProportionalAttack, VictimView
from gradshape.attacks.poison_set import PoisonSet
from gradshape.attacks.regression._one_hot import Groups, check_groups, snap
from gradshape.attacks.regression.harm import Harm, RegressionHarm, ascend
from gradshape.attacks.threat import ON_REGRESSION, Knowledge, ThreatModel
from gradshape.learners.linear import Penalty
from gradshape.training import known_penalty


class PoisonStart(Enum):
    """The training rows that poison starts from, and the values that they are given.

    Attributes:
        INVERSE_FLIP: random rows with ``1 - y``.
        BOUNDARY_FLIP: random rows with ``1 - y`` rounded to 0 or 1.
        LEVERAGE_FLIP: rows drawn in proportion to their leverage on ordinary least squares, with ``1 - y`` rounded.
    """

    INVERSE_FLIP = "inverse"
    BOUNDARY_FLIP = "boundary"
    LEVERAGE_FLIP = "leverage"


@dataclass(frozen=True)
class OptP(ProportionalAttack):
    """Optimise rows, and their values, against a linear regression (ordinary, ridge, lasso or elastic net).

    ``round(fraction * n)`` rows start as flipped training rows. Every step fits the model to clean rows and poison
    together and moves each poison row by the same length along its own gradient of the harm, inside [0, 1]; the length
    is doubled as long as that helps. Steps that do no more harm are not made, and the length shrinks instead. See
    :func:`~gradshape.attacks.regression.harm.ascend`.

    Args:
        fraction: poison rows relative to the number of *clean* rows, in [0, 1]. 0 is valid and adds nothing. The paper
            counts relative to all rows: its 20 % is 0.25.
        harm: what is maximised.
        start: the rows and values that poison starts from.
        move_values: whether the values are optimised as well as the rows.
        penalty: of the attacked model; the victim's own if ``None``.
        step: first length of a step, in the unit of the features, > 0.
        steps: at most, >= 1; 50 in the authors' code.
        tolerance: steps end, after 15 at the earliest, with one that gains no more than this share of the harm, >= 0.
            In the authors' code it is 1e-3, absolute.
        held_out: share of the clean rows that are held out for ``Harm.VALIDATION``, in (0, 1). The others then weigh as
            much as all, so that the share of poison stays what it is. Test rows are never looked at.
        one_hot: groups of columns of which exactly one is 1, in clean rows and in poison.

    Raises:
        ValueError: a number is out of range or a group is not valid; when poison is crafted, the victim is no linear
            regression and no penalty was given.

    The authors' code departs in three points: its line search goes row by row, each fitted with the clean rows only;
    its gradients take the Hessian of the clean rows; and the regulariser is part of its harm. The five steps up to its
    budget are five intensities of one figure, each optimised on its own, which are five values of ``fraction`` here.

    Jagielski et al. 2018, Manipulating machine learning, section III-A and III-B.

    >>> from gradshape import data
    >>> from gradshape.training import Fit
    >>> len(OptP(0.1)(data.load("diabetes"), seed=0, recipe=Fit("ridge")))
    30
    """

    harm: Harm = Harm.TRAIN
    start: PoisonStart = PoisonStart.BOUNDARY_FLIP
    _: KW_ONLY
    move_values: bool = True
    penalty: Penalty | None = None
    step: float = 0.5
    steps: int = 200
    tolerance: float = 1e-4
    held_out: float = 0.3
    one_hot: Groups = ()

    # Table 1 says black-box for the training data, for the transfer from substitute rows; this form has the real ones.
    small_problems: ClassVar[bool] = True
    threat: ClassVar[ThreatModel] = replace(
        ON_REGRESSION,
        training_data=Knowledge.EITHER,
        algorithm=Knowledge.FULL,
        parameters=Knowledge.FULL,
        source="Jagielski et al. 2018, Manipulating machine learning: poisoning attacks for regression learning",
    )

    def __post_init__(self) -> None:
        _validate.fraction(fraction=self.fraction)
        _validate.finite_non_negative(tolerance=self.tolerance)
        _validate.positive(step=self.step)
        _validate.positive_int(steps=self.steps)
        _validate.open_fraction(held_out=self.held_out)
        check_groups(self.one_hot)

    @property
    def label(self) -> str:
        kind = "" if self.harm is Harm.TRAIN else f"_{self.harm.value}"
        kind += "" if self.start is PoisonStart.BOUNDARY_FLIP else f"_{self.start.value}"
        kind += "" if self.move_values else "_rows"
        return f"optp{kind}_{100 * self.fraction:g}"

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        x, y = victim.train.x.flatten(1).double(), victim.train.y.double()
        # The victim is looked at only if need be: an attack with a penalty of its own knows nothing of it.
        penalty = self.penalty or known_penalty(victim.recipe, rows=len(y) + count)
        harm = self._harm(x, y, penalty, generator)
        source, start_y = draw_start(x, y, count, start=self.start, generator=generator)
        start_x = snap(x[source], self.one_hot)
        reached = ascend(
            harm,
            start_x,
            start_y,
            step=self.step,
            steps=self.steps,
            tolerance=self.tolerance,
            move_values=self.move_values,
            confine=lambda rows: snap(rows, self.one_hot),
            report=victim.report,
        )
        notes = {"harm_clean": harm.clean_harm, "harm_start": reached.path[0], "harm_reached": reached.path[-1]}
        crafted = reached.x.float().clamp(0, 1).reshape(count, *victim.input_shape)
        return PoisonSet.added(crafted, reached.y.float().clamp(0, 1), source=source, notes=notes)

    def _harm(self, x: Tensor, y: Tensor, penalty: Penalty, generator: torch.Generator) -> RegressionHarm:
        if self.harm is not Harm.VALIDATION:
            return RegressionHarm(x, y, penalty, distance=self.harm is Harm.DISTANCE)
        order = torch.randperm(len(y), generator=generator)
        held = min(max(1, round(self.held_out * len(y))), len(y) - 1)
        judged, fitted = order[:held], order[held:]
        return RegressionHarm(x[fitted], y[fitted], penalty, judged=(x[judged], y[judged]), weight=len(y) / len(fitted))


def draw_start(
    x: Tensor, y: Tensor, count: int, *, start: PoisonStart, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw the rows that poison starts from.

    Args:
        x, y: ``(n, d)`` and ``(n,)`` float64 training rows.
        count: number of rows, at least 1.
        start: how they are drawn, without replacement as long as there are enough, and what values they get.
        generator: draws them.

    Returns:
        ``(count,)`` int64 ids and ``(count,)`` float64 values in [0, 1].

    >>> x, y = torch.rand(5, 2, generator=torch.Generator().manual_seed(0)).double(), torch.full((5,), 0.25).double()
    >>> draw_start(x, y, 2, start=PoisonStart.INVERSE_FLIP, generator=torch.Generator().manual_seed(0))[1].tolist()
    [0.75, 0.75]
    """
    if start is PoisonStart.LEVERAGE_FLIP:
        centred = x - x.mean(0)
        leverage = 1 / len(x) + ((centred @ torch.linalg.pinv(centred.T @ centred, hermitian=True)) * centred).sum(1)
        source = torch.multinomial(leverage.cpu(), count, replacement=count > len(x), generator=generator)
    else:
        source = draw_rows(len(x), count, generator)
    values = 1 - y[source]
    return source, values if start is PoisonStart.INVERSE_FLIP else values.round()
