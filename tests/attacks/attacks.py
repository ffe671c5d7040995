"""The attacks that the contract runs over, and data to make them on."""

import math
from functools import cache
from typing import Any

import pytest
import torch
from _pytest.mark import ParameterSet

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
    SvmAscent,
    TargetedAttack,
    Watermark,
)
from gradshape.data import Dataset, Split
from gradshape.learners.margin_loss import SmoothedHinge, SquaredMargin
from gradshape.learners.private import ObjectivePerturbation, OutputPerturbation, PrivateNoise
from gradshape.training import SGD, Recipe, TrainedModel, Victim, train_victims
from tests.learners.regressions import plane
from tests.training.samples import blobs


def words(*, rows: int = 60, words: int = 12, seed: int = 0) -> Dataset:
    """Which words a message holds: the first third is commoner in class 1, the second in class 0."""
    generator = torch.Generator().manual_seed(seed)
    lean = torch.tensor([0.3, -0.3, 0.0]).repeat_interleave(words // 3)

    def split(count: int) -> Split:
        y = torch.arange(count) % 2
        chance = 0.4 + lean * (2 * y[:, None] - 1)
        return Split((torch.rand(count, words, generator=generator) < chance).float(), y)

    return Dataset("words", split(rows), split(40), 2)


LABEL_FLIPS = [
    LabelFlip(0),
    LabelFlip(0.01),
    LabelFlip(0.4),
    LabelFlip(1),
    LabelFlip(1.5),
    LabelFlip(0.3, feasible_quantile=0.9),
    LabelFlip(1.2, feasible_quantile=1),
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
CERTIFIED = [Steinhardt(0.4, steps=30), Steinhardt(0.4, steps=30, clip_afterwards=True)]
FEW_POINTS = [
    KohInfluence(0.1, steps=4, every=2),
    KohKkt(0.1, divisions=2, quantiles=(0.1,), repeats=(2,)),
    KohMinMax(0.1, quantiles=(0.1,), repeats=(2,)),
]
DRAGGED = [DataDependentSteinhardt(0.4, steps=6, splits=3, rungs=(0.2,), boxed=boxed) for boxed in (False, True)]
ASCENTS = [
    SvmAscent(0.1, points=4, steps=5, sweeps=1),
    SvmAscent(0.3, kernel=RBFKernel(), label_given=1, steps=5, starts=3),
    BackGradient(0.1, steps=4, descent=20),
    BackGradient(0.2, surrogate=DescentModel.ADALINE, label_given=1, points=3, steps=3, descent=20),
    BackGradient(0.1, surrogate=DescentModel.NETWORK, points=3, steps=3, descent=20, starts=2),
]
# The networks of the contract: the first is the victim's base model where an attack has no substitutes.
NETWORKS = (Recipe("mlp1", SGD(0.5), batch_size=20, epochs=3), Recipe("lr", SGD(0.5), batch_size=20, epochs=3))
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
]
DATASETS = {
    "two-classes": blobs(rows=104, classes=2, spread=0.5),
    "pictures": blobs(rows=99, shape=(1, 3, 2), classes=4, spread=0.4),
}
# For attacks that cannot be made on any of these.
OTHER_DATASETS = {"words": words(), "values": plane(noise=0.05)}
# Attacks that draw nothing: every seed gives the same poison.
SEEDLESS: tuple[type[Attack], ...] = (DictionaryAttack, KohKkt, KohMinMax, TargetedAttack)


def datasets_for(attack: Attack) -> dict[str, Dataset]:
    """The data sets that the attack is tried on: those that it can be made on."""
    for datasets in (DATASETS, OTHER_DATASETS):
        found = {name: dataset for name, dataset in datasets.items() if attack.unsuitable(dataset) is None}
        if found:
            return found
    raise LookupError(f"{attack.label} can be made on no data set here: add one")


def data_for(attack: Attack) -> Dataset:
    """The first of them."""
    return next(iter(datasets_for(attack).values()))


def pairs() -> list[ParameterSet]:
    """Every attack with each of its data sets."""
    return [
        pytest.param(attack, dataset, id=f"{attack.label}-{name}")
        for attack in ATTACKS
        for name, dataset in datasets_for(attack).items()
    ]


def aim(attack: Attack, dataset: Dataset, *, targets: int = 1) -> dict[str, Any]:
    """What a call says of its target: the first test rows, each to be taken for the next class by attacks that aim."""
    target = Split(dataset.test.x[:targets], dataset.test.y[:targets])
    if not isinstance(attack, TargetedAttack):
        return {"target": target}
    recipes = attack.substitutes or NETWORKS[:1]
    networks = [_network(recipe, dataset) for recipe in recipes]
    return {"target": target, "intended": (target.y + 1) % dataset.num_classes, "networks": networks}


@cache
def _network(recipe: Recipe, dataset: Dataset) -> TrainedModel:
    [result] = train_victims(dataset, [Victim(recipe, 0)])
    assert result.last is not None
    return TrainedModel(recipe, result.last)
