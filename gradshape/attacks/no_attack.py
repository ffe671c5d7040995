"""No attack at all."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from gradshape.attacks.base import Attack, VictimView
from gradshape.attacks.poison_set import PoisonSet
from gradshape.attacks.threat import BLACK_BOX, Injection, Knowledge, Mechanism, ThreatModel


@dataclass(frozen=True)
class NoAttack(Attack):
    """Clean training: for experiments that measure what a defence costs.

    >>> from gradshape import data
    >>> len(NoAttack()(data.load("two_moons"), seed=0))
    0
    """

    threat: ClassVar[ThreatModel] = replace(
        BLACK_BOX,
        training_data=Knowledge.NONE,
        features=Knowledge.NONE,
        multiple_poisons=False,
        injection=Injection.EITHER,
        mechanism=Mechanism.NONE,
        magnitude="-",
        orientation="-",
    )

    @property
    def label(self) -> str:
        return "no_attack"

    @property
    def family(self) -> str:
        return self.label

    def budget(self, train_rows: int) -> int:
        return 0

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        return PoisonSet.added(torch.empty(0, *victim.input_shape), torch.empty(0, dtype=torch.int64))
