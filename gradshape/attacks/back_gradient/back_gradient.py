"""Poisoning of models that are trained by gradient descent, with gradients through the unrolled descent."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from enum import Enum
from typing import ClassVar

import torch

from gradshape import _validate
from gradshape.attacks._point_ascent import add_best, climb
from gradshape.attacks._surrogate import PointBudget, hold_out
from gradshape.attacks.back_gradient._flat_models import Adaline, FlatModel, SoftmaxRegression, TanhNetwork
from gradshape.attacks.back_gradient._poisoned_descent import PoisonedDescent, stable_rate
from gradshape.attacks.base import ProportionalAttack, VictimView
from gradshape.attacks.label_flip import LabelFlip
from gradshape.attacks.poison_set import PoisonSet
from gradshape.attacks.threat import WHITE_BOX, Knowledge, ThreatModel
from gradshape.data import Dataset


class DescentModel(Enum):
    """What the attacker trains by gradient descent in place of the victim.

    Attributes:
        LOGISTIC: softmax regression.
        ADALINE: least squares on targets of 1 and -1.
        NETWORK: one hidden layer of 10 tanh units.
    """

    LOGISTIC = "lr"
    ADALINE = "adaline"
    NETWORK = "mlp"


# What builds each model for a number of inputs and of classes, and the authors' rate and steps of its descent.
_DESCENTS: dict[DescentModel, tuple[Callable[[int, int], FlatModel], float, int]] = {
    DescentModel.LOGISTIC: (SoftmaxRegression, 0.1, 100),
    DescentModel.ADALINE: (Adaline, 0.02, 80),
    DescentModel.NETWORK: (TanhNetwork, 0.1, 200),
}


@dataclass(frozen=True)
class BackGradient(ProportionalAttack):
    """Add copies of few points that are moved, one after the other, to where they hurt a surrogate most.

    The attacker trains a surrogate by plain gradient descent on some of the clean rows and measures its loss on others.
    Each point starts as a clean row of its training part under another label, the classes by turns, and climbs that
    loss by projected gradient steps in the box [0, 1], the gradient going back through the whole descent; then it
    stays, and the next one starts. The points weigh as much in the surrogate's training as the budget does in the
    victim's, and repeat by turns to fill the budget. Which errors the victim makes is left open.

    Args:
        fraction: poison rows relative to the number of *clean* rows, in [0, 1].
        surrogate: what the attacker trains.
        label_given: the label of all points; the classes by turns if ``None``.
        points: most points to optimise; the authors add up to 20.
        train_rows, validation_rows: the attacker's own, at most; they have the class shares of the clean rows. The
            authors have 100 and 400.
        rate: of the descent; if ``None`` the authors' (0.1, for ADALINE 0.02), or less where that may diverge.
        descent: its steps; if ``None`` the authors': 100, for ADALINE 80, for the network 200.
        step: length of the first step of a climb, in the unit of features.
        steps: most steps of a climb.
        tolerance: least gain of the mean validation loss in a step.
        starts: number of rows drawn for a point to start from, of which the one with the highest loss is taken.
        retraced: whether gradients go back along an approximate descent, which saves memory, or along the exact one.

    Raises:
        ValueError: a value is out of range.

    Muñoz-González, Biggio, Demontis, Paudice, Wongrassamee, Lupu and Roli 2017, Towards poisoning of deep learning
    algorithms with back-gradient optimization.

    >>> from gradshape import data
    >>> poison = BackGradient(0.02, steps=3, descent=20)(data.load("digits_38"), seed=0)
    >>> len(poison), poison.notes["validation_loss"] > poison.notes["validation_loss_clean"]
    (6, True)
    """

    surrogate: DescentModel = DescentModel.LOGISTIC
    label_given: int | None = None
    _: KW_ONLY
    points: int = 10
    train_rows: int = 100
    validation_rows: int = 400
    rate: float | None = None
    descent: int | None = None
    step: float = 0.5
    steps: int = 30
    tolerance: float = 1e-4
    starts: int = 1
    retraced: bool = False

    adaptive: ClassVar[bool] = False
    small_problems: ClassVar[bool] = True
    threat: ClassVar[ThreatModel] = replace(
        WHITE_BOX,
        training_data=Knowledge.EITHER,
        victims="LR",
        source="Muñoz-González et al. 2017, Towards poisoning of deep learning algorithms with back-gradient "
        "optimization",
    )

    def __post_init__(self) -> None:
        _validate.fraction(fraction=self.fraction)
        _validate.finite_non_negative(tolerance=self.tolerance)
        _validate.positive(step=self.step)
        _validate.positive_int(
            points=self.points,
            train_rows=self.train_rows,
            validation_rows=self.validation_rows,
            steps=self.steps,
            starts=self.starts,
        )
        _validate.member(DescentModel, surrogate=self.surrogate)
        if self.label_given is not None and self.label_given < 0:
            raise ValueError(f"label_given={self.label_given!r}: expected a class id or None")
        if self.rate is not None:
            _validate.positive(rate=self.rate)
        if self.descent is not None:
            _validate.positive_int(descent=self.descent)

    @property
    def label(self) -> str:
        kind = "back_gradient" if self.surrogate is DescentModel.LOGISTIC else f"back_gradient_{self.surrogate.value}"
        return f"{kind}_{100 * self.fraction:g}"

    @property
    def control(self) -> LabelFlip:
        return LabelFlip(self.fraction)

    def unsuitable(self, dataset: Dataset) -> str | None:
        reason = super().unsuitable(dataset)
        if reason is None and self.label_given is not None and self.label_given >= dataset.num_classes:
            return f"its label_given={self.label_given} is no class of this task, which has {dataset.num_classes}"
        return reason

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        data, classes = victim.train, victim.num_classes
        rows = hold_out(data, train=self.train_rows, validation=self.validation_rows, generator=generator)
        budget = PointBudget.shared(count, own_rows=len(rows.train), victim_rows=len(data), most_points=self.points)
        x = data.x.flatten(1).double()
        build, usual_rate, usual_steps = _DESCENTS[self.surrogate]
        model = build(x.shape[1], classes)
        highest = stable_rate(model, x[rows.train], points=budget.points * budget.weight)
        learner = PoisonedDescent(
            model,
            x[rows.train],
            data.y[rows.train],
            x[rows.validation],
            data.y[rows.validation],
            start=model.start(generator).to(x.device),
            rate=self.rate or min(usual_rate, highest),
            steps=self.descent or usual_steps,
            retraced=self.retraced,
        )
        clean, sources = learner.loss, list[int]()
        first = int(torch.randint(classes, (1,), generator=generator))
        for point in range(budget.points):
            label = (first + point) % classes if self.label_given is None else self.label_given
            others = rows.train[data.y[rows.train] != label]
            drawn = others[torch.randperm(len(others), generator=generator)[: self.starts]]
            sources.append(int(drawn[add_best(learner, x[drawn], label, budget.weight)]))
            climb(learner, point, step=self.step, steps=self.steps, tolerance=self.tolerance)
            victim.report(point + 1, budget.points, learner.loss)
        chosen = budget.fill(count)
        return PoisonSet.added(
            learner.points.float().clamp(0, 1)[chosen].reshape(count, *victim.input_shape),
            learner.labels[chosen],
            source=torch.tensor(sources)[chosen],
            notes={"validation_loss_clean": clean, "validation_loss": learner.loss},
        )
