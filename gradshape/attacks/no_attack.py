"""No attack at all."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from gradshape.attacks.base import Attack, PoisonSet, VictimView
from gradshape.attacks.threat import Goal, Injection, Knowledge, Mechanism, ThreatModel


@dataclass(frozen=True)
class NoAttack(Attack):
    """Clean training: for experiments that measure what a defence costs.

    >>> from gradshape import data
    >>> len(NoAttack()(data.load("two_moons"), seed=0))
    0
    """

    threat: ClassVar[ThreatModel] = ThreatModel(
        goal=Goal.INDISCRIMINATE,
        training_data=Knowledge.NONE,
        features=Knowledge.NONE,
        algorithm=Knowledge.NONE,
        parameters=Knowledge.NONE,
        multiple_poisons=False,
        injection=Injection.EITHER,
        binary=True,
        multiclass=True,
        victims="any",
        mechanism=Mechanism.NONE,
        magnitude="-",
        orientation="-",
        source="-",
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
        none = torch.empty(0, dtype=torch.int64)
        return PoisonSet(torch.empty(0, *victim.input_shape), none, none, none)
