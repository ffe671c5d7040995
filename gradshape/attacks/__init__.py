"""Crafting poison: what an attack is, and the attacks."""

from gradshape.attacks.base import Attack, Crafting, PoisonSet, VictimView
from gradshape.attacks.label_flip import LabelFlip, feasible_flips
from gradshape.attacks.none import NoAttack
from gradshape.attacks.threat import Goal, Injection, Knowledge, Mechanism, ThreatModel

__all__ = [
    "Attack",
    "Crafting",
    "Goal",
    "Injection",
    "Knowledge",
    "LabelFlip",
    "Mechanism",
    "NoAttack",
    "PoisonSet",
    "ThreatModel",
    "VictimView",
    "feasible_flips",
]
