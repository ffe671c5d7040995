"""Rows of the intended class with features of the target."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gradshape import models
from gradshape.attacks import Crafting, Insertion, Knowledge, Nudge, PoisonSet, StingRay, SwitchOn
from gradshape.attacks.stingray._negative_impact import HeldOutLoss
from gradshape.attacks.stingray.insertion import random_subset
from gradshape.data import Dataset, Split
from gradshape.testing._datasets import plane, words
from gradshape.training import SGD, Recipe, TrainedModel, Victim, train_victims
from tests.training.samples import blobs

WORDS = words(rows=80, words=30)
PICTURES = blobs(rows=60, shape=(1, 4, 3), classes=3, spread=0.3)
RECIPE = Recipe("mlp1", SGD(0.2), batch_size=10, epochs=3)
UNTESTED = StingRay(6, SwitchOn(4), harm=None)


def base_model(dataset: Dataset, recipe: Recipe = RECIPE) -> TrainedModel:
    [result] = train_victims(dataset, [Victim(recipe, 0)])
    assert result.last is not None
    return TrainedModel(recipe, result.last)


MODELS = {dataset.name: base_model(dataset) for dataset in (WORDS, PICTURES)}


def aims_of(dataset: Dataset, count: int = 4) -> tuple[Split, Tensor]:
    """The first test rows as targets, and the class after their own as the intended one."""
    target = Split(dataset.test.x[:count], dataset.test.y[:count])
    return target, (target.y + 1) % dataset.num_classes


def crafted(
    attack: StingRay,
    dataset: Dataset = WORDS,
    *,
    seed: int = 0,
    places: slice = slice(None),
    networks: tuple[TrainedModel, ...] | None = None,
    **options: Any,
) -> PoisonSet:
    target, intended = aims_of(dataset)
    chosen = Split(target.x[places], target.y[places])
    networks = networks or (MODELS[dataset.name],)
    return attack(dataset, seed=seed, target=chosen, intended=intended[places], networks=networks, **options)


def parents(poison: PoisonSet, dataset: Dataset = WORDS) -> tuple[Tensor, Tensor]:
    """The bases and the targets of all poison rows."""
    assert poison.aims is not None
    return dataset.test.x[poison.aims.base], dataset.test.x[poison.aims.target]


VARIANTS = [
    StingRay(6),
    UNTESTED,
    StingRay(6, known=0.5),
    StingRay(6, Nudge()),
    StingRay(6, Nudge(0.5, step=0.1), known=0.5, harm=None),
]
each_variant = pytest.mark.parametrize("attack", VARIANTS, ids=lambda attack: attack.label)


def data_for(attack: StingRay) -> Dataset:
    return WORDS if isinstance(attack.insertion, SwitchOn) else PICTURES


@each_variant
def test_poison_is_labelled_as_the_wanted_class_which_its_base_is_of(attack: StingRay) -> None:
    dataset = data_for(attack)
    poison = crafted(attack, dataset)
    assert poison.aims is not None
    assert len(poison) > 0
    assert torch.equal(poison.y, aims_of(dataset)[1][poison.aims.target])
    assert torch.equal(poison.y, dataset.test.y[poison.aims.base])
    assert (poison.aims.target.bincount() <= 6).all()


def test_words_stay_zeros_and_ones() -> None:
    poison = crafted(StingRay(6))
    assert ((poison.x == 0) | (poison.x == 1)).all()


@each_variant
def test_targets_alone_get_the_poison_that_they_get_together(attack: StingRay) -> None:
    dataset = data_for(attack)
    together = crafted(attack, dataset)
    for place in range(4):
        alone = crafted(attack, dataset, places=slice(place, place + 1))
        mine = together.against(place)
        assert torch.equal(alone.x, mine.x)
        assert alone.aims is not None
        assert mine.aims is not None
        assert torch.equal(alone.aims.base, mine.aims.base)
        torch.testing.assert_close(alone.aims.distance, mine.aims.distance)


@each_variant
def test_distances_are_those_of_the_features(attack: StingRay) -> None:
    dataset = data_for(attack)
    poison = crafted(attack, dataset)
    network = MODELS[dataset.name].module(dataset.input_shape, dataset.num_classes)
    _, target = parents(poison, dataset)
    expected = (models.penultimate(network, poison.x) - models.penultimate(network, target)).norm(dim=1)
    assert poison.aims is not None
    torch.testing.assert_close(poison.aims.distance, expected)


@pytest.mark.parametrize("features", [1, 3, 30])
def test_every_feature_of_the_base_stays_and_at_most_so_many_of_the_target_come(features: int) -> None:
    poison = crafted(StingRay(8, SwitchOn(features), harm=None))
    base, target = parents(poison)
    assert len(poison) == 32
    assert (poison.x >= base).all()
    gained = (poison.x == 1) & (base == 0)
    assert (target[gained] == 1).all()
    missing = ((target == 1) & (base == 0)).sum(1)
    assert torch.equal(gained.sum(1), missing.clamp_max(features))


def test_which_features_come_is_random() -> None:
    poison = crafted(StingRay(30, SwitchOn(2), nearest=1, harm=None), places=slice(1))
    assert len(poison.x.unique(dim=0)) > 5


def test_nudged_values_move_towards_the_target_by_at_most_a_step() -> None:
    poison = crafted(StingRay(8, Nudge(0.5, step=0.1), harm=None), PICTURES)
    base, target = parents(poison, PICTURES)
    moved = (poison.x - base).flatten(1)
    way = (target - base).flatten(1)
    assert (moved.abs() <= 0.1 + 1e-6).all()
    assert (moved * way >= 0).all()
    assert (moved.abs() <= way.abs() + 1e-6).all()
    assert ((moved != 0).sum(1) == ((way != 0).sum(1)).clamp_max(6)).all()


@pytest.mark.parametrize("attack", [StingRay(8, SwitchOn(9)), StingRay(8, Nudge(1))], ids=["binary", "pictures"])
@pytest.mark.parametrize("known", [0.5, (0, 3, 11)], ids=["share", "ids"])
def test_outside_of_the_known_features_nothing_changes(attack: StingRay, known: float | tuple[int, ...]) -> None:
    dataset = data_for(attack)
    poison = crafted(replace(attack, known=known, harm=None), dataset)
    base, _ = parents(poison, dataset)
    changed = (poison.x != base).flatten(1).any(0).nonzero().flatten().tolist()
    assert changed
    if isinstance(known, tuple):
        assert set(changed) <= set(known)
    else:
        assert len(changed) <= math.prod(dataset.input_shape) // 2


def test_which_features_are_known_depends_on_the_seed() -> None:
    changed = set()
    for seed in range(3):
        poison = crafted(StingRay(20, SwitchOn(9), known=0.3, harm=None), seed=seed)
        base, _ = parents(poison)
        changed.add(tuple((poison.x != base).any(0).tolist()))
    assert len(changed) == 3


def test_bases_are_the_nearest_rows_by_the_known_features_alone() -> None:
    known = (2, 5, 7, 20)
    poison = crafted(StingRay(40, nearest=3, known=known, harm=None))
    assert poison.aims is not None
    target, intended = aims_of(WORDS)
    for place in range(4):
        distance = (WORDS.test.x - target.x[place])[:, list(known)].abs().sum(1)
        distance[WORDS.test.y != intended[place]] = math.inf
        nearest = set(distance.argsort(stable=True)[:3].tolist())
        assert set(poison.aims.base[poison.aims.target == place].tolist()) == nearest


def test_more_nearest_rows_than_there_are_are_all_of_them() -> None:
    poison = crafted(StingRay(300, nearest=1000, harm=None), places=slice(1))
    assert poison.aims is not None
    assert len(poison.aims.base.unique()) == int((WORDS.test.y == aims_of(WORDS)[1][0]).sum())


def planted() -> Dataset:
    """Two words that each name their class, and one test row of class 1 that holds the words of class 0."""
    eye = torch.eye(2).repeat_interleave(20, 0)
    x = torch.cat([eye, torch.zeros(40, 6)], dim=1)
    y = torch.tensor([0, 1]).repeat_interleave(20)
    odd = torch.tensor([[1.0, 0, 1, 1, 0, 0, 0, 0]])
    target = torch.tensor([[1.0, 0, 1, 1, 1, 0, 0, 0]])
    test = Split(torch.cat([target, odd, x]), torch.cat([torch.tensor([0, 1]), y]))
    return Dataset("planted", Split(x, y), test, num_classes=2)


def test_bases_that_harm_the_others_are_replaced_by_the_next_draws() -> None:
    dataset = planted()
    network = base_model(dataset, Recipe("lr", SGD(0.5), batch_size=10, epochs=20))
    target, intended = Split(dataset.test.x[:1], dataset.test.y[:1]), torch.tensor([1])

    def bases(attack: StingRay) -> list[int]:
        poison = attack(dataset, seed=0, target=target, intended=intended, networks=[network])
        assert poison.aims is not None
        return poison.aims.base.tolist()

    few = StingRay(10, SwitchOn(1), nearest=3, known=(4, 5), tries=8)
    assert 1 in bases(replace(few, harm=None))
    tested = bases(few)
    assert 1 not in tested
    assert len(tested) == 10
    # The odd row is all that there is: no draw passes.
    assert bases(replace(few, nearest=1, known=(2, 3))) == []
    assert len(bases(replace(few, nearest=1, known=(2, 3), harm=100.0))) == 10


def test_the_loss_on_the_target_itself_may_rise() -> None:
    target, intended = aims_of(WORDS)
    network = MODELS["words"].module(WORDS.input_shape, 2)
    poison = crafted(StingRay(20, SwitchOn(2)))
    judge = HeldOutLoss(network, WORDS.test)
    for place in range(4):
        mine = poison.against(place)
        assert mine.aims is not None
        others = (WORDS.test.x != target.x[place]).any(1)
        assert (judge.rise(mine.rows, counted=others, made_from=mine.aims.base) <= 1e-9).all()
        assert (mine.y == intended[place]).all()


def test_without_the_test_the_budget_is_used_up() -> None:
    poison = crafted(UNTESTED)
    assert poison.aims is not None
    assert poison.aims.target.tolist() == [0] * 6 + [1] * 6 + [2] * 6 + [3] * 6


def test_a_substitute_takes_the_place_of_the_victim() -> None:
    attack = replace(UNTESTED, substitutes=(RECIPE,))
    assert StingRay(5).substitutes == ()
    assert attack.substitutes == (RECIPE,)
    assert StingRay(5).threat.parameters is Knowledge.FULL
    assert attack.threat.parameters is Knowledge.NONE
    other = base_model(WORDS, replace(RECIPE, model="lr"))
    assert len(crafted(attack, networks=(other,))) == 24


def test_training_rows_are_not_known() -> None:
    moved = Dataset("words", Split(1 - WORDS.train.x, WORDS.train.y), WORDS.test, num_classes=2)
    target, intended = aims_of(WORDS)
    fingerprints = {
        StingRay(5)(dataset, seed=0, target=target, intended=intended, networks=[MODELS["words"]]).fingerprint
        for dataset in (moved, WORDS)
    }
    assert len(fingerprints) == 1


def test_progress_is_told_target_by_target() -> None:
    told: list[Crafting] = []
    crafted(UNTESTED, progress=told.append)
    assert [(step.step, step.steps, step.objective) for step in told] == [(k, 4, 1.0) for k in (1, 2, 3, 4)]


def test_a_victim_trains_on_the_poison() -> None:
    poison = crafted(UNTESTED)
    [result] = train_victims(WORDS, [Victim(RECIPE, 0, private=poison.against(2).rows)])
    assert result.diverged is None


@pytest.mark.parametrize("count", [1, 3, 9])
def test_some_of_the_eligible_places_are_drawn(count: int) -> None:
    eligible = torch.rand(40, 7, generator=torch.Generator().manual_seed(0)) < 0.5
    chosen = random_subset(eligible, count, generator=torch.Generator().manual_seed(1))
    assert not (chosen & ~eligible).any()
    assert torch.equal(chosen.sum(1), eligible.sum(1).clamp_max(count))


def test_labels_tell_variants_apart() -> None:
    variants = [
        StingRay(50),
        StingRay(50, SwitchOn(5)),
        StingRay(50, Nudge()),
        StingRay(50, Nudge(0.1, step=0.5), nearest=9),
        StingRay(50, known=0.25, harm=None),
        StingRay(50, harm=0.01, tries=2),
        StingRay(50, substitutes=(RECIPE,)),
    ]
    assert [variant.label for variant in variants] == [
        "stingray_50",
        "stingray_f5_50",
        "stingray_nudge_50",
        "stingray_nudge_share10_step0.5_near9_50",
        "stingray_known25_untested_50",
        "stingray_harm0.01_tries2_50",
        "stingray_by-mlp1_50",
    ]
    assert StingRay(50, known=(1, 2)).label != StingRay(50, known=(1, 3)).label


def test_data_that_does_not_suit_is_said_so() -> None:
    assert StingRay(5).unsuitable(WORDS) is None
    assert StingRay(5, Nudge()).unsuitable(PICTURES) is None
    assert "expected 1 for a feature that is present, else 0" in str(StingRay(5).unsuitable(PICTURES))
    assert "this is a regression task" in str(StingRay(5).unsuitable(plane()))
    expected = "its rows have 30 features: expected known ids below that, got 30"
    assert StingRay(5, known=(2, 30)).unsuitable(WORDS) == expected
    with pytest.raises(ValueError, match="stingray_5 cannot be made on blobs: its rows hold the value"):
        crafted(StingRay(5), PICTURES)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"poisons": 0}, "poisons=0: expected an integer of at least 1"),
        ({"nearest": 0}, "nearest=0: expected an integer of at least 1"),
        ({"tries": 0}, "tries=0: expected an integer of at least 1"),
        ({"harm": -1.0}, "harm=-1.0: expected a finite number of at least 0"),
        ({"harm": math.inf}, "harm=inf: expected a finite number of at least 0"),
        ({"known": 0.0}, r"known=0.0: expected a number in \(0, 1\]"),
        ({"known": 1.5}, r"known=1.5: expected a number in \(0, 1\]"),
        ({"known": ()}, r"known=\(\): expected at least 1 feature id"),
        ({"known": (1, 1)}, r"known=\(1, 1\): expected at least 1 feature id, distinct"),
        ({"known": (-1, 1)}, r"known=\(-1, 1\): expected .* distinct integers from 0"),
        ({"known": (1.5,)}, r"known=\(1.5,\): expected .* distinct integers from 0"),
        ({"known": (True, 2)}, r"known=\(True, 2\): expected .* distinct integers from 0"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(StingRay(5), **settings)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (SwitchOn, {"features": 0}, "features=0: expected an integer of at least 1"),
        (Nudge, {"share": 0.0}, r"share=0.0: expected a number in \(0, 1\]"),
        (Nudge, {"step": 1.5}, r"step=1.5: expected a number in \(0, 1\]"),
    ],
    ids=["features", "share", "step"],
)
def test_insertions_out_of_range_are_refused(kind: type[Insertion], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**settings)
