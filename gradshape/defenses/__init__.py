"""Defences: what one is, and the defences."""

from gradshape.defenses.base import Assumptions, Defense, DefenseKind, Suspect
from gradshape.defenses.none import NoDefense
from gradshape.defenses.shaping import GradientShaping

__all__ = ["Assumptions", "Defense", "DefenseKind", "GradientShaping", "NoDefense", "Suspect"]
