"""The attacks that the contract runs over, and data to make some on."""

import math

from gradshape.attacks import (
    Attack,
    BackGradient,
    BadNetsPatch,
    BullseyePolytope,
    ConvexPolytope,
    DataDependentSteinhardt,
    DescentModel,
    DictionaryAttack,
    FocusedAttack,
    Harm,
    Integrity,
    KohInfluence,
    KohKkt,
    KohMinMax,
    LabelContamination,
    LabelFlip,
    NoAttack,
    Nudge,
    OptP,
    PoisonFrogs,
    PoisonStart,
    PrivateLearnerPoisoning,
    RBFKernel,
    Relaxation,
    ReleaseGoal,
    RowDescent,
    RowSelection,
    SeverPairs,
    StatP,
    Steinhardt,
    StingRay,
    SvmAscent,
    TargetedAttack,
    Watermark,
)
from gradshape.learners.margin_loss import SmoothedHinge, SquaredMargin
from gradshape.learners.private import ObjectivePerturbation, OutputPerturbation, PrivateNoise
from gradshape.testing.attack import BASE, datasets
from gradshape.training import SGD, Recipe

LABEL_FLIPS = [
    LabelFlip(0),
    LabelFlip(0.01),
    LabelFlip(0.4),
    LabelFlip(1),
    LabelFlip(0.7),
    LabelFlip(0.3, feasible_quantile=0.9),
    LabelFlip(0.9, feasible_quantile=1),
]
COLLISIONS_AND_INSERTIONS = [
    Watermark(0.4, count=10),
    Watermark(1, fraction=0.6),
    BadNetsPatch(2, fraction=0.1, claimed=1),
]
WORDS = [DictionaryAttack(0.1), DictionaryAttack(0.1, lexicon=0.5), FocusedAttack(0.1, known=0.5, header=0.5)]
REGRESSION = [OptP(0.1), OptP(0.1, harm=Harm.VALIDATION, start=PoisonStart.LEVERAGE_FLIP), StatP(0.1), SeverPairs(0.1)]
QUICK = RowDescent(steps=6, judges=4, draws=2)
LINEAR = [
    LabelContamination(0.1),
    LabelContamination(0.2, SquaredMargin(), goal=Integrity(60), steps=5),
    LabelContamination(0.1, SmoothedHinge(), relaxation=Relaxation.MARGIN, steps=5),
    PrivateLearnerPoisoning(0.1, descent=QUICK),
    PrivateLearnerPoisoning(
        0.2,
        ObjectivePerturbation(5, noise=PrivateNoise.GAUSSIAN),
        ReleaseGoal.LABEL_TARGET,
        surrogate=True,
        descent=QUICK,
    ),
    PrivateLearnerPoisoning(
        0.1, OutputPerturbation(1), ReleaseGoal.PARAMETER_TARGET, selection=RowSelection.DEEP, descent=QUICK
    ),
]
# As few steps as draw all that there is to draw: what is promised is promised of any number.
CERTIFIED = [Steinhardt(0.4, steps=8), Steinhardt(0.4, steps=8, clip_afterwards=True)]
FEW_POINTS = [
    KohInfluence(0.1, steps=4, every=2),
    KohKkt(0.1, divisions=2, quantiles=(0.1,), repeats=(2,)),
    KohMinMax(0.05, quantiles=(0.1,), repeats=(2,)),
]
DRAGGED = [DataDependentSteinhardt(0.4, steps=3, splits=2, rungs=(0.2,), boxed=boxed) for boxed in (False, True)]
ASCENTS = [
    SvmAscent(0.1, points=4, steps=5, sweeps=1),
    SvmAscent(0.3, kernel=RBFKernel(), label_given=1, steps=5, starts=3),
    BackGradient(0.1, steps=2, descent=10),
    BackGradient(0.2, surrogate=DescentModel.ADALINE, label_given=1, points=3, steps=2, descent=10),
    BackGradient(0.1, surrogate=DescentModel.NETWORK, points=2, steps=2, descent=10, starts=2),
]
NETWORKS = (BASE, Recipe("lr", SGD(0.5), batch_size=20, epochs=3))
FROGS = [
    PoisonFrogs(3, within=math.inf, steps=60, tolerance=1e-3),
    PoisonFrogs(2, epsilon=0.1, opacity=0.3, within=math.inf, steps=40),
    PoisonFrogs(4, beta=0.01, within=2, steps=60, tolerance=1e-3),
]
POLYTOPES = [
    ConvexPolytope(3, substitutes=NETWORKS, steps=15),
    BullseyePolytope(3, substitutes=NETWORKS, steps=15),
    BullseyePolytope(2, substitutes=NETWORKS[:1], epsilon=0.3, steps=15),
]
TARGETED: list[TargetedAttack] = [*FROGS, *POLYTOPES]
STINGRAYS = [StingRay(3), StingRay(3, Nudge())]
ATTACKS: list[Attack] = [
    NoAttack(),
    *LABEL_FLIPS,
    *CERTIFIED,
    *DRAGGED,
    *ASCENTS,
    *FEW_POINTS,
    *COLLISIONS_AND_INSERTIONS,
    *WORDS,
    *LINEAR,
    *REGRESSION,
    *TARGETED,
    *STINGRAYS,
]
DATASETS = datasets()[0]
