"""Base of the attacks that surround a target with poison in the features of several networks."""

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from gradshape import _validate, models
from gradshape.attacks.base import VictimView
from gradshape.attacks.feature_collision._nearest import mean_distance, nearest_of_class
from gradshape.attacks.poison_set import PoisonSet
from gradshape.attacks.targeted_attack import TargetedAttack, poison_by_target
from gradshape.attacks.threat import ON_TARGETS, Knowledge, ThreatModel
from gradshape.features import penultimate_features, rows_per_pass
from gradshape.training import Recipe

_REPORT_EVERY = 10
_DECAY, _SQUARE_DECAY, _TINY = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class PolytopeAttack(TargetedAttack):
    """Base of attacks that bring a combination of poison features onto the target's, in all networks at once.

    For each target, the bases are the ``poisons`` test rows of the intended class whose features are nearest to the
    target's in the mean over the networks, or all if there are fewer. Adam minimises, over all poison of a target, the
    sum over networks of :meth:`loss`; after every step each value is clipped to within ``epsilon`` of its base and to
    [0, 1]. Of all steps a target keeps the poison with the least sum. A target's rows belong together, and their
    distance is the combination's.

    Args:
        poisons: for each target.
        substitutes: recipes of the networks that poison is crafted on, at least 1. The label has the names of their
            models only.
        epsilon: largest change of a value, in (0, 1].
        steps: of Adam. On Fashion-MNIST and on purchases the loss after 400 is within 0.2 % of that after 1,500.
        rate: of Adam.

    Raises:
        ValueError: a value is outside its range, or there are no substitutes.
    """

    poisons: int = 5
    _: KW_ONLY
    substitutes: tuple[Recipe, ...]
    epsilon: float = 0.1
    steps: int = 400
    rate: float = 0.04

    joint: ClassVar[bool] = True
    name: ClassVar[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.substitutes:
            raise ValueError(f"substitutes={self.substitutes!r}: expected at least 1 recipe of a network to craft on")
        _validate.positive_fraction(epsilon=self.epsilon)
        _validate.positive_int(steps=self.steps)
        _validate.positive(rate=self.rate)

    @abstractmethod
    def coefficients(self, features: Tensor, goal: Tensor, start: Tensor | None) -> Tensor:
        """Return the weight of each poison in a combination; the weights are held fixed while poison takes a step.

        Args:
            features: ``(T, J, f)`` of the poison in one network.
            goal: ``(T, f)`` the targets'.
            start: ``(T, J)`` the coefficients for that network of the step before; ``None`` at the first step.

        Returns:
            ``(T, J)``, at least 0, with sums of 1.
        """

    @abstractmethod
    def loss(self, residual: Tensor) -> Tensor:
        """Return the losses ``(T,)`` of a network, given ``|goal - combination| / |goal|``, ``(T,)``."""

    @property
    def label(self) -> str:
        settings = [
            "-".join(recipe.model for recipe in self.substitutes),
            "" if self.epsilon == 0.1 else f"_eps{self.epsilon:g}",
            "" if self.steps == 400 else f"_steps{self.steps}",
            "" if self.rate == 0.04 else f"_lr{self.rate:g}",
        ]
        return f"{self.name}_{''.join(settings)}_{self.poisons}"

    @final
    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        networks, rows, targets = victim.networks, victim.candidates, victim.target.x
        goals = [penultimate_features(network, targets) for network in networks]
        distance = mean_distance(goals, [penultimate_features(network, rows.x) for network in networks])
        near = nearest_of_class(distance, rows.y, victim.intended, count)
        at_once = min(rows_per_pass(network, rows.x, copies=12) for network in networks)
        parts = list(_equally_many(near, at_once))
        x, reached = [], []
        for part, places in enumerate(parts):
            base = rows.x[torch.stack([near[place] for place in places])]
            done, steps = part * self.steps, len(parts) * self.steps
            surrounded = self._surround(victim, networks, [goal[places] for goal in goals], base, done, steps)
            x.append(surrounded[0].flatten(0, 1))
            reached.append(surrounded[1].repeat_interleave(base.shape[1]))
        order = [place for places in parts for place in places]
        sizes = torch.tensor([len(near[place]) for place in order])
        target = torch.tensor(order).repeat_interleave(sizes).to(victim.device)
        bases = torch.cat([near[place] for place in order])
        return poison_by_target(torch.cat(x), victim.intended[target], target, bases, torch.cat(reached))

    def _surround(
        self,
        victim: VictimView,
        networks: Sequence[nn.Module],
        goals: Sequence[Tensor],
        base: Tensor,
        before: int,
        of: int,
    ) -> tuple[Tensor, Tensor]:
        """Poison ``(T, J, *shape)`` made from ``base``, and the distances ``(T,)`` of its combinations."""
        low, high = (base - self.epsilon).clamp_min(0), (base + self.epsilon).clamp_max(1)
        x, mean, square = base.clone(), torch.zeros_like(base), torch.zeros_like(base)
        held: list[Tensor | None] = [None] * len(networks)
        best, kept, reached = base, base.new_full((len(base),), math.inf), base.new_zeros(len(base))
        for step in range(self.steps + 1):
            x = x.detach().requires_grad_()
            total, apart = base.new_zeros(len(base)), base.new_zeros(len(base))
            for at, (network, goal) in enumerate(zip(networks, goals, strict=True)):
                features = models.penultimate(network, x.flatten(0, 1)).unflatten(0, x.shape[:2])
                coefficients = held[at] = self.coefficients(features.detach(), goal, held[at])
                away = combined_distance(features, coefficients, goal)
                apart = apart + away.detach() / len(networks)
                total = total + self.loss(away / goal.norm(dim=1).clamp_min(_TINY))
            (slope,) = torch.autograd.grad(total.sum(), x)
            x, total = x.detach(), total.detach()
            better = total < kept
            kept, reached = torch.where(better, total, kept), torch.where(better, apart, reached)
            best = torch.where(better.view(-1, *[1] * (x.ndim - 1)), x, best)
            if step == 1 or (step and step % _REPORT_EVERY == 0):
                victim.report(before + step, of, -float(kept.mean()))
            mean = mean.lerp(slope, 1 - _DECAY)
            square = square.lerp(slope.square(), 1 - _SQUARE_DECAY)
            t = step + 1
            scale = (square / (1 - _SQUARE_DECAY**t)).sqrt() + _TINY
            x = x - self.rate / (1 - _DECAY**t) * mean / scale
            x = torch.maximum(torch.minimum(x, high), low)
        return best, reached


def combined_distance(features: Tensor, coefficients: Tensor, goal: Tensor) -> Tensor:
    """Return distances ``(T,)`` of the combinations of features ``(T, J, f)`` by ``(T, J)`` from the goals ``(T, f)``.

    >>> combined_distance(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([[0.5, 0.5]]), torch.zeros(1, 2))
    tensor([0.7071])
    """
    apart: Tensor = (goal - (coefficients.unsqueeze(-1) * features).sum(1)).norm(dim=1)
    return apart


def transfer_threat(source: str) -> ThreatModel:
    """Return the threat model of these attacks, which know nothing of the victim's data, algorithm or parameters."""
    return replace(ON_TARGETS, algorithm=Knowledge.NONE, parameters=Knowledge.NONE, source=source)


def _equally_many(near: Sequence[Tensor], at_once: int) -> Iterator[list[int]]:
    """Group the places of targets with equally many bases, at most ``at_once`` bases in a group of several targets."""
    for size in sorted({len(ids) for ids in near}):
        places = [place for place, ids in enumerate(near) if len(ids) == size]
        step = max(1, at_once // size)
        yield from (places[first : first + step] for first in range(0, len(places), step))
