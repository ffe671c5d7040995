"""Poisoning a support vector machine by gradient ascent on its validation loss."""

from dataclasses import KW_ONLY, dataclass, field, replace
from typing import ClassVar

import torch

from gradshape import _validate
from gradshape.attacks._point_ascent import add_best, climb
from gradshape.attacks._surrogate import PointBudget, hold_out
from gradshape.attacks.base import ProportionalAttack, VictimView
from gradshape.attacks.label_flip import LabelFlip
from gradshape.attacks.poison_set import PoisonSet
from gradshape.attacks.svm._poisoned_svm import PoisonedSvm
from gradshape.attacks.svm.kernels import Kernel, LinearKernel
from gradshape.attacks.threat import ON_SVM, ThreatModel


@dataclass(frozen=True)
class SvmAscent(ProportionalAttack):
    """Add copies of few points that are moved, one after the other, to where they hurt an SVM most.

    The attacker trains the SVM on some of the clean rows and measures its hinge loss on others. Each point starts as a
    clean row of its training part under the other label, the classes by turns, and climbs that loss by projected
    gradient steps in the box [0, 1]; then it stays, and the next one starts. The points weigh as much in the SVM's
    training as the budget does in the victim's, and repeat by turns to fill the budget: few heavy points do more damage
    than many light ones, each of which reaches a local maximum sooner.

    Args:
        fraction: poison rows relative to the number of *clean* rows, in [0, 1].
        kernel: :class:`LinearKernel` or :class:`RBFKernel`; a gamma left open is taken from the attacker's rows.
        label_given: the label of all points; the classes by turns if ``None``.
        points: most points to optimise.
        train_rows, validation_rows: the attacker's own, at most; they have the class shares of the clean rows. The
            authors have 100 and 500.
        c: the SVM's C.
        step: length of the first step of a climb, in the unit of features.
        steps: most steps of a climb.
        tolerance: least gain of the mean validation loss.
        starts: number of rows drawn for a point to start from, of which the one with the highest loss is taken.
        sweeps: how often all points climb again, in reverse order; the sweeps end when the loss rises no more.

    Raises:
        ValueError: a value is out of range.

    Biggio, Nelson and Laskov 2012, Poisoning attacks against support vector machines; the repeated sweeps are those of
    secml, by the same group.

    >>> from gradshape import data
    >>> poison = SvmAscent(0.02, steps=5)(data.load("digits_38"), seed=0)
    >>> len(poison), poison.notes["validation_hinge"] > poison.notes["validation_hinge_clean"]
    (6, True)
    """

    kernel: Kernel = field(default=LinearKernel())
    label_given: int | None = None
    _: KW_ONLY
    points: int = 2
    train_rows: int = 100
    validation_rows: int = 500
    c: float = 1.0
    step: float = 0.5
    steps: int = 100
    tolerance: float = 1e-6
    starts: int = 1
    sweeps: int = 0

    adaptive: ClassVar[bool] = False
    small_problems: ClassVar[bool] = True
    threat: ClassVar[ThreatModel] = replace(
        ON_SVM,
        source="Biggio, Nelson and Laskov 2012, Poisoning attacks against support vector machines",
    )

    def __post_init__(self) -> None:
        _validate.fraction(fraction=self.fraction)
        _validate.finite_non_negative(tolerance=self.tolerance)
        _validate.positive(c=self.c, step=self.step)
        _validate.positive_int(
            points=self.points,
            train_rows=self.train_rows,
            validation_rows=self.validation_rows,
            steps=self.steps,
            starts=self.starts,
        )
        if isinstance(self.kernel, str):
            raise ValueError(f"kernel={self.kernel!r}: expected a kernel, such as LinearKernel() or RBFKernel()")
        if self.label_given not in (None, 0, 1):
            raise ValueError(f"label_given={self.label_given!r}: expected 0, 1 or None")
        if self.sweeps < 0:
            raise ValueError(f"sweeps={self.sweeps!r}: expected at least 0")

    @property
    def label(self) -> str:
        return f"svm_ascent{self.kernel.label}_{100 * self.fraction:g}"

    @property
    def control(self) -> LabelFlip:
        return LabelFlip(self.fraction)

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        data = victim.train
        rows = hold_out(data, train=self.train_rows, validation=self.validation_rows, generator=generator)
        own = len(rows.train)
        budget = PointBudget.shared(count, own_rows=own, victim_rows=len(data), most_points=self.points)
        x = data.x.flatten(1).double()
        signs = 2 * data.y.double() - 1
        svm = PoisonedSvm(
            x[rows.train],
            signs[rows.train],
            x[rows.validation],
            signs[rows.validation],
            kernel=self.kernel.scaled_to(x[rows.train]),
            c=self.c,
        )
        clean, sources, sweeps = svm.loss, list[int](), 1 + self.sweeps

        def climb_again(point: int, done: int) -> None:
            direction = svm.own_gradient(point)
            climb(svm, point, step=self.step, steps=self.steps, tolerance=self.tolerance, direction=direction)
            victim.report(done, sweeps * budget.points, svm.loss)

        first = int(torch.randint(2, (1,), generator=generator))
        for point in range(budget.points):
            label = (first + point) % 2 if self.label_given is None else self.label_given
            opposite = rows.train[data.y[rows.train] != label]
            drawn = opposite[torch.randperm(len(opposite), generator=generator)[: self.starts]]
            sources.append(int(drawn[add_best(svm, x[drawn], label, budget.weight)]))
            climb_again(own + point, point + 1)
        for sweep in range(1, sweeps):
            before = svm.loss
            for again in range(budget.points):
                climb_again(own + budget.points - 1 - again, sweep * budget.points + again + 1)
            if svm.loss <= before + self.tolerance:
                break
        chosen = budget.fill(count)
        points, labels = svm.x[own:].float().clamp(0, 1), (svm.signs[own:] > 0).long()
        return PoisonSet.added(
            points[chosen].reshape(count, *victim.input_shape),
            labels[chosen],
            source=torch.tensor(sources)[chosen],
            notes={"validation_hinge_clean": clean, "validation_hinge": svm.loss},
        )
