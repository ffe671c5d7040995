"""Two rows that climb the gradient of the learner's loss, by how its minimum moves with them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.attacks.base import PoisonSet, ProportionalAttack, VictimView
from gradshape.attacks.koh import _koh_attack
from gradshape.attacks.koh._koh_attack import Surrogate
from gradshape.attacks.koh._regularised_hinge import Added, DecayedHinge
from gradshape.attacks.label_flip import LabelFlip
from gradshape.attacks.threat import ThreatModel
from gradshape.constraints import FeasibleSets

_FAILURES = 2


@dataclass(frozen=True)
class KohInfluence(ProportionalAttack):
    """Add copies of one row of each class, moved so that the loss on the clean training rows grows most.

    The rows start at random rows of the other class, in the sphere and slab of the class that they claim. Each step
    retrains a smoothed SVM, moves both rows along the gradient of its loss on the clean rows, and projects them back.

    Args:
        fraction: poison rows relative to the number of *clean* rows, >= 0; 0.03 in the paper.
        quantile: of the radii and half-widths, in (0, 1].
        decay: weight decay of the attacker's learner, above 0; the paper has 0.01 for MNIST-1-7 and IMDB, 0.09 for
            Enron and 1.1 for Dogfish.
        temperature: of its smoothed hinge, above 0.
        eta: step size, above 0.
        steps: at most; 10,000 in the released code.
        every: the loss is looked at after so many steps; after two looks without gain the attack ends.
        levels: ``None`` for rows of any values; else rows are whole multiples of ``1 / levels``, such as counts of
            words divided by the largest that is kept: what is found without that is rounded at random
            (:func:`gradshape.attacks.koh._rounding.round_inside`).

    Raises:
        ValueError: a value is out of its range.

    Koh, Steinhardt and Liang 2018, Stronger data poisoning attacks break data sanitization defenses, section 4.1, as
    their code does with ``use_train``: the loss that grows is the one on the training rows.

    On ``digits_38``, with 20 %, it does as much as flips under the same constraints to logistic regression (0.047 and
    0.052) and more to the SVM (0.056 and 0.028). On ``mail_counts`` it does no harm with these few steps.
    """

    quantile: float = 0.9
    decay: float = 0.01
    temperature: float = 1e-3
    eta: float = 0.1
    steps: int = 50
    every: int = 10
    levels: int | None = None

    threat: ClassVar[ThreatModel] = _koh_attack.THREAT
    # It knows its own learner, whatever is trained on its rows.
    adaptive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _koh_attack.check(
            fraction=self.fraction,
            quantile=self.quantile,
            decay=self.decay,
            temperature=self.temperature,
            levels=self.levels,
        )
        _validate.positive(eta=self.eta)
        _validate.positive_int(steps=self.steps, every=self.every)

    @property
    def label(self) -> str:
        return f"koh_influence_{100 * self.fraction:g}"

    @property
    def control(self) -> LabelFlip:
        return LabelFlip(self.fraction, feasible_quantile=self.quantile)

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        own = Surrogate.of(victim.train, quantile=self.quantile, decay=self.decay, temperature=self.temperature)
        copies = _koh_attack.in_inverse_balance(own.y, count)
        climb = climb_by_influence(
            own.learner,
            _flipped(own, generator),
            copies.double() / len(own),
            sets=own.sets,
            eta=self.eta,
            steps=self.steps,
            every=self.every,
            report=victim.report,
        )
        if self.levels is not None:
            return own.whole(
                climb.x, own.classes, copies, shape=victim.input_shape, levels=self.levels, generator=generator
            )
        return own.poison(climb.x, own.classes, copies, shape=victim.input_shape, error=climb.error)


def _flipped(own: Surrogate, generator: torch.Generator) -> Tensor:
    """``(2, d)`` a row for each class, of the other: one in the set, if there is any, else projected onto it."""
    x = own.learner.rows[:, :-1] * own.learner.rows[:, -1:]
    allowed = own.sets.contains(x, 1 - own.y)
    rows = []
    for label in (0, 1):
        others = own.y != label
        candidates = (allowed & others).nonzero()[:, 0]
        if len(candidates) == 0:
            candidates = others.nonzero()[:, 0]
        rows.append(x[candidates[torch.randint(len(candidates), (), generator=generator)]])
    return own.sets.project(torch.stack(rows), own.classes)


@dataclass(frozen=True, eq=False)
class Climb:
    """Where two rows came to.

    Attributes:
        x: ``(2, d)`` the best rows seen, of class 0 and class 1.
        loss, error: of the learner with them, on the clean rows.
        history: the best loss up to each look.
    """

    x: Tensor
    loss: float
    error: float
    history: tuple[float, ...]


def climb_by_influence(
    learner: DecayedHinge,
    x: Tensor,
    mass: Tensor,
    *,
    sets: FeasibleSets,
    eta: float,
    steps: int,
    every: int = 10,
    report: Callable[[int, int, float], None] | None = None,
) -> Climb:
    """Projected gradient ascent of the loss on the clean rows over a row of class 0 and one of class 1.

    Args:
        learner: with the clean rows.
        x: ``(2, d)`` float64 rows to start from, in the sets.
        mass: ``(2,)`` copies of each for one clean row.
        sets: where rows must lie.
        eta: step size; gradients are those by one unit of mass, so that copies do not lengthen steps.
        steps: at most.
        every: steps from look to look; two looks without gain end the ascent.
        report: called at each look with step, ``steps`` and the best loss.

    Koh, Steinhardt and Liang 2018, algorithm 1.
    """
    classes = torch.arange(2, device=x.device)
    theta = learner.fit(_pair(x, mass))
    best, history, failures = (x, theta), [learner.mean_loss(theta)], 0
    for step in range(1, steps + 1):
        moved = x + eta * influence_gradient(learner, x, mass, theta)
        x = sets.project(moved, classes)
        theta = learner.fit(_pair(x, mass), start=theta)
        if step % every and step != steps:
            continue
        loss = learner.mean_loss(theta)
        failures = 0 if loss > history[-1] else failures + 1
        if loss > history[-1]:
            best = (x, theta)
        history.append(max(loss, history[-1]))
        if report is not None:
            report(step, steps, history[-1])
        if failures == _FAILURES:
            break
    return Climb(best[0], history[-1], learner.error(best[1]), tuple(history))


def _pair(x: Tensor, mass: Tensor) -> Added:
    sign = x.new_tensor([[-1.0], [1.0]])
    return Added(torch.cat([sign * x, sign], dim=1), mass)


def influence_gradient(learner: DecayedHinge, x: Tensor, mass: Tensor, theta: Tensor) -> Tensor:
    """``(2, d)`` gradients of the loss on the clean rows by the two rows, each divided by its mass.

    With the minimum ``theta`` of the training objective, its Hessian ``H`` and ``q = H^-1 dA/dtheta``, that of a row
    with margin ``m = z theta . (x, 1)`` is ``-(z loss'(m) q + loss''(m) (q . (x, 1)) theta)``, without the bias.

    Args:
        learner: with the clean rows, on which the loss ``A`` is measured.
        x: ``(2, d)`` float64, a row of class 0 and one of class 1.
        mass: ``(2,)`` copies of each for one clean row.
        theta: ``(d + 1,)`` what the learner comes to with them.

    Koh and Liang 2017, Understanding black-box predictions via influence functions, equation 5.
    """
    pair = _pair(x, mass)
    q = learner.solve(theta, learner.loss_gradient(theta), added=pair)
    sign, margins, along = pair.rows[:, -1], pair.rows @ theta, pair.rows @ q
    slope, curvature = sign * learner.loss.slope(margins), sign * learner.loss.curvature(margins) * along
    return -(slope[:, None] * q[:-1] + curvature[:, None] * theta[:-1])
