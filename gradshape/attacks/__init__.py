"""Attacks, which craft poison, and the base class that checks what they craft."""

from gradshape.attacks.back_gradient.back_gradient import BackGradient, DescentModel
from gradshape.attacks.badnets import BadNetsPatch, stamp
from gradshape.attacks.base import Attack, Crafting, ProportionalAttack, VictimView
from gradshape.attacks.feature_collision.bullseye_polytope import BullseyePolytope
from gradshape.attacks.feature_collision.convex_polytope import ConvexPolytope
from gradshape.attacks.feature_collision.poison_frogs import PoisonFrogs
from gradshape.attacks.koh.influence import KohInfluence
from gradshape.attacks.koh.kkt import KohKkt
from gradshape.attacks.koh.min_max import KohMinMax
from gradshape.attacks.label_contamination.contamination import Availability, Integrity, LabelContamination
from gradshape.attacks.label_contamination.label_ascent import Relaxation
from gradshape.attacks.label_flip import LabelFlip, feasible_flips
from gradshape.attacks.no_attack import NoAttack
from gradshape.attacks.poison_set import Aims, PoisonSet
from gradshape.attacks.private_learners.private_learner_poisoning import (
    PrivateLearnerPoisoning,
    ReleaseGoal,
    RowSelection,
)
from gradshape.attacks.private_learners.row_descent import RowDescent
from gradshape.attacks.regression.harm import Harm
from gradshape.attacks.regression.optp import OptP, PoisonStart
from gradshape.attacks.regression.sever_pairs import SeverPairs
from gradshape.attacks.regression.statistical import StatP
from gradshape.attacks.steinhardt.data_dependent import DataDependentSteinhardt
from gradshape.attacks.steinhardt.oracle import Steinhardt
from gradshape.attacks.stingray.insertion import Insertion, Nudge, SwitchOn
from gradshape.attacks.stingray.stingray import StingRay
from gradshape.attacks.svm.kernels import Kernel, LinearKernel, RBFKernel
from gradshape.attacks.svm.svm_ascent import SvmAscent
from gradshape.attacks.targeted_attack import TargetedAttack, poison_by_target
from gradshape.attacks.threat import (
    BLACK_BOX,
    ON_REGRESSION,
    ON_SVM,
    ON_TARGETS,
    WHITE_BOX,
    Goal,
    Injection,
    Knowledge,
    Mechanism,
    ThreatModel,
)
from gradshape.attacks.watermark import Watermark, overlay
from gradshape.attacks.word_filters.dictionary import DictionaryAttack, frequent_words
from gradshape.attacks.word_filters.focused import FocusedAttack

__all__ = [
    "BLACK_BOX",
    "ON_REGRESSION",
    "ON_SVM",
    "ON_TARGETS",
    "WHITE_BOX",
    "Aims",
    "Attack",
    "Availability",
    "BackGradient",
    "BadNetsPatch",
    "BullseyePolytope",
    "ConvexPolytope",
    "Crafting",
    "DataDependentSteinhardt",
    "DescentModel",
    "DictionaryAttack",
    "FocusedAttack",
    "Goal",
    "Harm",
    "Injection",
    "Insertion",
    "Integrity",
    "Kernel",
    "Knowledge",
    "KohInfluence",
    "KohKkt",
    "KohMinMax",
    "LabelContamination",
    "LabelFlip",
    "LinearKernel",
    "Mechanism",
    "NoAttack",
    "Nudge",
    "OptP",
    "PoisonFrogs",
    "PoisonSet",
    "PoisonStart",
    "PrivateLearnerPoisoning",
    "ProportionalAttack",
    "RBFKernel",
    "Relaxation",
    "ReleaseGoal",
    "RowDescent",
    "RowSelection",
    "SeverPairs",
    "StatP",
    "Steinhardt",
    "StingRay",
    "SvmAscent",
    "SwitchOn",
    "TargetedAttack",
    "ThreatModel",
    "VictimView",
    "Watermark",
    "feasible_flips",
    "frequent_words",
    "overlay",
    "poison_by_target",
    "stamp",
]
