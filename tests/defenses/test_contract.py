"""What holds of every defence, and that no defence gets away with breaking it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from gradshape import _digest, defenses
from gradshape.data import Split
from gradshape.defenses import (
    RONI,
    TRIM,
    Assumptions,
    Calibrated,
    DeepKNN,
    Defense,
    DefenseKind,
    GradientShaping,
    LossFilter,
    NearestNeighborFilter,
    NoDefense,
    OracleSphereSlabFilter,
    PerfectFilter,
    RandomFilter,
    Sever,
    ShareFilter,
    SlabFilter,
    SpectralSignatures,
    SphereFilter,
    SphereSlabFilter,
    SVDFilter,
    TargetedRONI,
)
from gradshape.shaping import AdaptiveNoise, Clip, Noise, Normalize, QuantileClip, Shaper
from gradshape.testing import Check, defense_checks
from gradshape.training import SGD, Adam, AnyRecipe, Recipe, Victim, train_victims
from tests.training.samples import Damp, blobs

DEFENSES: list[Defense] = [
    NoDefense(),
    GradientShaping(Clip(4)),
    GradientShaping(Noise(0.1)),
    GradientShaping(Clip(0.5) | Noise(1e-7)),
    GradientShaping(Clip(math.inf)),
    GradientShaping(Clip(1_000_000)),
    GradientShaping(Damp(0.5)),
    GradientShaping(Clip(1, per_layer=True)),
    GradientShaping(Normalize()),
    GradientShaping(QuantileClip(0.5) | Noise(0.1)),
    GradientShaping(Clip(4) | AdaptiveNoise(0.1)),
    RONI(base=6, quiz=10, trials=2, threshold=-0.1),
    RONI(base=6, quiz=10, trials=2, threshold=Calibrated(rows=20)),
    TargetedRONI(base=6, trials=2, threshold=-0.5),
    SphereSlabFilter(),
    SphereSlabFilter(0.9),
    OracleSphereSlabFilter(0.9),
    SphereFilter(0.1),
    SlabFilter(0.1),
    LossFilter(0.1),
    LossFilter(0.1, decay=0.1),
    SVDFilter(0.1),
    NearestNeighborFilter(0.1),
    NearestNeighborFilter(0.1, neighbors=3),
    PerfectFilter(),
    RandomFilter(),
    TRIM(),
    TRIM(fraction=0.1, starts=2, first=9),
    Sever(),
    Sever(fraction=0.1, rounds=3),
    DeepKNN(0.2),
    DeepKNN(0.2, k=7),
    SpectralSignatures(0.1),
]
RECIPES = {
    "adam": Recipe("lr", Adam(0.01), batch_size=20, epochs=1),
    "sgd": Recipe("mlp1", SGD(0.1, momentum=0.5), batch_size=7, epochs=2),
}
DATA = blobs()


def _id(defense: Defense) -> str:
    return defense.label_for(RECIPES["sgd"])


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


each_defense = pytest.mark.parametrize("defense", DEFENSES, ids=_id)
each_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)


@pytest.mark.parametrize(
    "check",
    [pytest.param(check, id=f"{check.subject}-{check}") for defense in DEFENSES for check in defense_checks(defense)],
)
def test_every_defense_keeps_its_promises(check: Check) -> None:
    check()


def test_every_defense_is_tried() -> None:
    public = {value for value in vars(defenses).values() if isinstance(value, type) and issubclass(value, Defense)}
    assert {type(defense) for defense in DEFENSES} == public - {Defense, ShareFilter}


@each_recipe
def test_labels_are_distinct(recipe: Recipe) -> None:
    assert len({defense.label_for(recipe) for defense in DEFENSES}) == len(DEFENSES)


@each_defense
def test_it_says_where_it_is_published(defense: Defense) -> None:
    assert (defense.assumptions.source == "-") == isinstance(defense, NoDefense)


def test_other_defenses_have_other_names() -> None:
    assert len(set(DEFENSES)) == len({_digest.name(defense) for defense in DEFENSES}) == len(DEFENSES)


@each_defense
@each_recipe
def test_a_defended_recipe_differs_in_its_shaper_only(defense: Defense, recipe: Recipe) -> None:
    shaped = defense.shape(recipe)
    assert isinstance(shaped, Recipe)
    assert shaped.with_shaper(recipe.shaper) == recipe


@each_defense
@each_recipe
def test_a_victim_trains_under_the_defense(defense: Defense, recipe: Recipe) -> None:
    [result] = train_victims(DATA, [Victim(defense.shape(recipe), 0)])
    assert result.diverged is None


@each_defense
def test_only_no_defense_has_no_mechanism(defense: Defense) -> None:
    assert (defense.assumptions.kind is DefenseKind.NONE) == isinstance(defense, NoDefense)


def test_no_defense_is_vanilla_and_leaves_the_recipe_alone() -> None:
    assert NoDefense().label_for(RECIPES["adam"]) == "vanilla"
    assert NoDefense().shape(RECIPES["adam"]) is RECIPES["adam"]


def test_gradient_shaping_is_named_by_optimizer_and_parts() -> None:
    defense = GradientShaping(Clip(4) | Noise(0.1))
    assert defense.label_for(RECIPES["adam"]) == "dp_adam_c4_s0.1"
    assert defense.label_for(RECIPES["sgd"]) == "dp_sgd_c4_s0.1"


def test_gradient_shaping_comes_after_what_the_recipe_does_already() -> None:
    clipped = replace(RECIPES["adam"], shaper=Shaper((Clip(2),)))
    assert GradientShaping(Noise(1)).shape(clipped).shaper == Clip(2) | Noise(1)


def test_a_single_part_is_a_shaper_of_one() -> None:
    assert GradientShaping(Clip(4)) == GradientShaping(Shaper((Clip(4),)))


@pytest.mark.parametrize("shaper", [Shaper(), Noise(0), Shaper((Noise(0), Noise(0)))], ids=str)
def test_shaping_that_does_nothing_is_no_defense(shaper: Shaper | Noise) -> None:
    with pytest.raises(ValueError, match=r"use NoDefense\(\)"):
        GradientShaping(shaper)


def test_shaping_by_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="expected Noise or an object with label and weights"):
        GradientShaping(4.0)  # type: ignore[arg-type]


MASKS: dict[str, Callable[[Split], Tensor]] = {
    "half": lambda train: torch.arange(len(train)) % 2 == 0,
    "ids": lambda train: torch.arange(len(train)),
    "floats": lambda train: torch.ones(len(train)),
    "short": lambda train: torch.ones(len(train) - 1, dtype=torch.bool),
    "column": lambda train: torch.ones(len(train), 1, dtype=torch.bool),
    "none": lambda train: torch.zeros(len(train), dtype=torch.bool),
}


@dataclass(frozen=True)
class Keeps(Defense):
    mask: str

    assumptions: ClassVar[Assumptions] = NoDefense.assumptions

    def label_for(self, recipe: AnyRecipe) -> str:
        return f"keeps_{self.mask}"

    def keep(self, train: Split, *, generator: torch.Generator) -> Tensor | None:
        return MASKS[self.mask](train)


def test_a_filter_keeps_what_its_mask_says() -> None:
    mask = Keeps("half").filter(DATA.train, generator=_generator())
    assert Keeps("half").filters
    assert mask is not None
    assert mask.tolist() == [row % 2 == 0 for row in range(len(DATA.train))]


@pytest.mark.parametrize("mask", ["ids", "floats", "short", "column"])
def test_a_mask_of_another_form_is_refused(mask: str) -> None:
    with pytest.raises(ValueError, match=rf"Keeps\(mask='{mask}'\) returned a mask .*: expected bool \(44,\)"):
        Keeps(mask).filter(DATA.train, generator=_generator())


def test_a_filter_that_keeps_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Keeps\(mask='none'\) removes all 44 training rows"):
        Keeps("none").filter(DATA.train, generator=_generator())
