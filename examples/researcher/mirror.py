"""An attack: pictures with light and dark exchanged, under the labels that they had."""

from dataclasses import dataclass, replace

import torch

from gradshape.attacks import BLACK_BOX, PoisonSet, ProportionalAttack, VictimView


@dataclass(frozen=True)
class Mirror(ProportionalAttack):
    """Add copies of random rows on the other side of the middle of their values, which keep their labels.

    Args:
        fraction: poison rows relative to the number of clean rows.
    """

    threat = replace(BLACK_BOX, source="examples/researcher")

    @property
    def label(self) -> str:
        return f"mirror_{100 * self.fraction:g}"

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        rows = torch.randint(len(victim.train), (count,), generator=generator).to(victim.device)
        return PoisonSet.added(1 - victim.train.x[rows], victim.train.y[rows], source=rows)
