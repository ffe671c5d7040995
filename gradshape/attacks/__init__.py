"""Crafting poison: what an attack is, and the attacks."""

from gradshape.attacks.back_gradient import BackGradient
from gradshape.attacks.badnets import BadNetsPatch, stamp
from gradshape.attacks.base import Aims, Attack, Crafting, PoisonSet, ProportionalAttack, VictimView
from gradshape.attacks.bullseye_polytope import BullseyePolytope
from gradshape.attacks.convex_polytope import ConvexPolytope
from gradshape.attacks.data_dependent import DataDependentSteinhardt
from gradshape.attacks.dictionary import DictionaryAttack, frequent_words
from gradshape.attacks.dp_victim import Aim, DPVictim, Selection
from gradshape.attacks.feature_insertion import Insertion, Nudge, SwitchOn
from gradshape.attacks.focused import FocusedAttack
from gradshape.attacks.koh_influence import KohInfluence
from gradshape.attacks.koh_kkt import KohKkt
from gradshape.attacks.koh_min_max import KohMinMax
from gradshape.attacks.label_ascent import Relaxation
from gradshape.attacks.label_contamination import Availability, Integrity, LabelContamination
from gradshape.attacks.label_flip import LabelFlip, feasible_flips
from gradshape.attacks.none import NoAttack
from gradshape.attacks.poison_frogs import PoisonFrogs
from gradshape.attacks.regression_ascent import OptP, Start
from gradshape.attacks.regression_harm import Harm
from gradshape.attacks.regression_statistical import StatP
from gradshape.attacks.row_descent import Descent
from gradshape.attacks.sever_pairs import SeverPairs
from gradshape.attacks.steinhardt import Steinhardt
from gradshape.attacks.stingray import StingRay
from gradshape.attacks.svm_ascent import SvmAscent
from gradshape.attacks.targeted import TargetedAttack, aimed
from gradshape.attacks.threat import Goal, Injection, Knowledge, Mechanism, ThreatModel
from gradshape.attacks.watermark import Watermark, overlay

__all__ = [
    "Aim",
    "Aims",
    "Attack",
    "Availability",
    "BackGradient",
    "BadNetsPatch",
    "BullseyePolytope",
    "ConvexPolytope",
    "Crafting",
    "DPVictim",
    "DataDependentSteinhardt",
    "Descent",
    "DictionaryAttack",
    "FocusedAttack",
    "Goal",
    "Harm",
    "Injection",
    "Insertion",
    "Integrity",
    "Knowledge",
    "KohInfluence",
    "KohKkt",
    "KohMinMax",
    "LabelContamination",
    "LabelFlip",
    "Mechanism",
    "NoAttack",
    "Nudge",
    "OptP",
    "PoisonFrogs",
    "PoisonSet",
    "ProportionalAttack",
    "Relaxation",
    "Selection",
    "SeverPairs",
    "Start",
    "StatP",
    "Steinhardt",
    "StingRay",
    "SvmAscent",
    "SwitchOn",
    "TargetedAttack",
    "ThreatModel",
    "VictimView",
    "Watermark",
    "aimed",
    "feasible_flips",
    "frequent_words",
    "overlay",
    "stamp",
]
