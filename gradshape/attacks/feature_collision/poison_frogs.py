"""Poison Frogs: clean-looking rows of one class that a network takes for a target of another."""

import math
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _validate, models
from gradshape.attacks.base import VictimView
from gradshape.attacks.feature_collision._collision import collide
from gradshape.attacks.feature_collision._nearest import mean_distance, nearest_of_class
from gradshape.attacks.poison_set import PoisonSet
from gradshape.attacks.targeted_attack import TargetedAttack, poison_by_target
from gradshape.attacks.threat import ON_TARGETS, ThreatModel
from gradshape.features import penultimate_features, rows_per_pass

_REPORT_EVERY = 10


@dataclass(frozen=True)
class PoisonFrogs(TargetedAttack):
    """Move test rows of the intended class until their features collide with the target's, and keep their label.

    The bases of a target are the ``poisons`` test rows ``b`` of the intended class whose features are nearest to its
    own, or all rows of that class if there are fewer. Each base becomes one poison row ``p``, which minimises ``|phi(p)
    - phi(t)|^2 + beta' / 2 |p - b|^2`` in the box [0, 1]; ``phi`` are the penultimate features of the victim's base
    model, or the logits of logistic regression. Poison farther than ``within`` from its target is left out, so that a
    target may get fewer rows, or none. All pairs of targets and bases are crafted together.

    Args:
        poisons: bases for each target; the paper has 100.
        beta: how strongly poison is held at its base. The weight is ``beta' = beta (f / d)^2`` for ``f`` features and
            ``d`` input values; Shafahi et al. have 0.25 (their code 0.2), and 2048 for ``f``, which from memory is the
            width of their network's features.
        epsilon: poison stays so near its base in every value (the l-infinity form); ``beta`` has then no effect.
        opacity: poison starts as ``opacity * t + (1 - opacity) * b``, in [0, 1): a watermark of the target.
        within: largest distance of a poison's features from the target's; infinity keeps all.
        steps: at most.
        tolerance: a row is done when a step would change it, relative to its length, by at most this.

    Raises:
        ValueError: a value is outside its range.

    Shafahi et al. 2018, algorithm 1; Hong et al. 2020, section 6.3 (100 bases for a target, 3.5, at most 10,000 steps).
    What departs from the code of Shafahi et al.:

    * Its first term is the distance, whose gradient does not shrink near the goal; ours is its square, as in their
      paper. The backward step is theirs, and exact for ``beta' / 2``, not ``beta'``.
    * It has one rate for all, which falls when the objective has not fallen below the mean of 40 steps; ours is each
      row's own, and no objective ever rises. That takes hundreds of steps where the authors have thousands.
    * It stops at a relative change of 1e-10, below what float32 resolves, or at an objective of 2.9; ours at a larger
      relative change only.

    Values of binary data become numbers between 0 and 1.

    >>> PoisonFrogs().label, PoisonFrogs(5, epsilon=8 / 255, opacity=0.3).label
    ('poison_frogs_100', 'poison_frogs_linf8_o0.3_5')
    """

    poisons: int = 100
    beta: float = 0.25
    epsilon: float | None = None
    _: KW_ONLY
    opacity: float = 0.0
    within: float = 3.5
    steps: int = 2000
    tolerance: float = 1e-4

    threat: ClassVar[ThreatModel] = replace(
        ON_TARGETS, source="Shafahi et al. 2018, Poison Frogs!; Hong et al. 2020, section 6.3"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _validate.finite_non_negative(beta=self.beta, tolerance=self.tolerance)
        _validate.positive_int(steps=self.steps)
        if self.epsilon is not None:
            _validate.positive_fraction(epsilon=self.epsilon)
        _validate.fraction_below_one(opacity=self.opacity)
        _validate.above_zero(within=self.within)

    @property
    def label(self) -> str:
        settings = [
            # In steps of eight-bit pictures.
            "" if self.epsilon is None else f"_linf{255 * self.epsilon:g}",
            "" if self.beta == 0.25 else f"_beta{self.beta:g}",
            f"_o{self.opacity:g}" if self.opacity else "",
            "" if self.within == 3.5 else f"_within{self.within:g}",
            "" if self.steps == 2000 else f"_steps{self.steps}",
            "" if self.tolerance == 1e-4 else f"_tol{self.tolerance:g}",
        ]
        return f"poison_frogs{''.join(settings)}_{self.poisons}"

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        network, rows = victim.networks[0], victim.candidates
        goals, features = penultimate_features(network, victim.target.x), penultimate_features(network, rows.x)
        near = nearest_of_class(mean_distance([goals], [features]), rows.y, victim.intended, count)
        base = torch.cat(near)
        places = torch.arange(len(near)).repeat_interleave(torch.tensor([len(ids) for ids in near])).to(base.device)
        at_once = rows_per_pass(network, rows.x)
        parts = list(zip(places.split(at_once), base.split(at_once), strict=True))
        weight = self.beta * (goals.shape[1] / math.prod(victim.input_shape)) ** 2
        collided = [
            collide(
                partial(models.penultimate, network),
                rows.x[ids],
                goals[target],
                beta=weight if self.epsilon is None else 0.0,
                half_width=math.inf if self.epsilon is None else self.epsilon,
                start=(1 - self.opacity) * rows.x[ids] + self.opacity * victim.target.x[target],
                steps=self.steps,
                tolerance=self.tolerance,
                report=partial(_report, victim, part * self.steps, len(parts) * self.steps),
            )
            for part, (target, ids) in enumerate(parts)
        ]
        x, distance = (torch.cat([getattr(part, name) for part in collided]) for name in ("x", "distance"))
        kept = (distance <= self.within).nonzero().squeeze(1)
        places, base = places[kept], base[kept]
        return poison_by_target(x[kept], victim.intended[places], places, base, distance[kept])


def _report(victim: VictimView, before: int, steps: int, step: int, objectives: Tensor) -> None:
    if step == 1 or step % _REPORT_EVERY == 0:
        victim.report(before + step, steps, -float(objectives.mean()))
