"""Poison inside fixed spheres and slabs, with a certificate."""

from dataclasses import replace

import pytest
import torch

from gradshape import data
from gradshape.attacks import Crafting, Steinhardt
from gradshape.constraints import FeasibleSets
from gradshape.data import Dataset, Split
from gradshape.learners.hinge import fit_hinge
from tests.training.samples import blobs

PAIR = blobs(rows=120, classes=2, spread=0.4, shape=(2, 4))
BRIEF = Steinhardt(0.3, rho=2.0, steps=30)
each_mode = pytest.mark.parametrize("clip_afterwards", [False, True], ids=["boxed", "clipped"])


def _sets(attack: Steinhardt, dataset: Dataset) -> FeasibleSets:
    return FeasibleSets.from_rows(dataset.train.x.flatten(1), dataset.train.y, quantile=attack.quantile)


def _feasible(attack: Steinhardt, dataset: Dataset, *, seed: int = 0) -> torch.Tensor:
    poison = attack(dataset, seed=seed)
    return _sets(attack, dataset).contains(poison.x.flatten(1), poison.y)


@pytest.mark.parametrize("quantile", [0.3, 0.7, 1.0])
def test_all_rows_are_in_the_sphere_and_slab_of_their_class(quantile: float) -> None:
    attack = replace(BRIEF, quantile=quantile)
    assert _feasible(attack, PAIR).all()
    assert attack(PAIR, seed=0).notes["share_feasible"] == 1


def test_clipping_afterwards_takes_rows_out_and_that_is_noted() -> None:
    edge = Split((2 * PAIR.train.x - 0.5).clamp(0, 1), PAIR.train.y)
    dataset = Dataset("edge", edge, edge, num_classes=2)
    attack = replace(BRIEF, clip_afterwards=True)
    inside = _feasible(attack, dataset)
    assert not inside.all()
    assert attack(dataset, seed=0).notes["share_feasible"] == pytest.approx(inside.double().mean().item())
    assert _feasible(BRIEF, dataset).all()


@pytest.mark.parametrize("fraction", [0.05, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_reached_is_below_the_bound_and_near_it(fraction: float, seed: int) -> None:
    notes = Steinhardt(fraction, rho=2.0, steps=80)(blobs(rows=90, classes=2, spread=0.4, seed=seed), seed=seed).notes
    assert notes["objective_reached"] <= notes["certified_bound"] + 1e-3
    assert notes["objective_reached"] >= notes["certified_bound"] - 0.15


@each_mode
def test_the_objective_is_the_least_loss_on_clean_rows_and_poison_per_clean_row(clip_afterwards: bool) -> None:
    attack = replace(BRIEF, clip_afterwards=clip_afterwards)
    poison = attack(PAIR, seed=0)
    x = torch.cat([PAIR.train.x, poison.x]).flatten(1)
    fit = fit_hinge(x, torch.cat([PAIR.train.y, poison.y]), rho=attack.rho)
    assert poison.notes["objective_reached"] == pytest.approx(fit.objective * len(x) / 120, abs=2e-4)


def test_poison_inside_the_sets_is_worse_than_none_and_more_is_worse() -> None:
    x, y = PAIR.train.x.flatten(1), PAIR.train.y
    reached = [replace(BRIEF, fraction=fraction)(PAIR, seed=0).notes["objective_reached"] for fraction in (0.1, 0.4)]
    assert fit_hinge(x, y, rho=2.0).objective < reached[0] < reached[1]


def test_the_certificate_does_not_cover_clipped_rows_and_is_not_noted_for_them() -> None:
    notes = replace(BRIEF, clip_afterwards=True)(PAIR, seed=0).notes
    assert "certified_bound" not in notes
    assert notes["bound_unclipped"] >= BRIEF(PAIR, seed=0).notes["certified_bound"] - 0.02


@pytest.mark.parametrize("steps", [1, 7, 80])
def test_rounds_are_shared_evenly(steps: int) -> None:
    poison = replace(BRIEF, steps=steps)(PAIR, seed=0)
    rounds = int(poison.notes["rounds"])
    copies = poison.x.flatten(1).unique(dim=0, return_counts=True)[1]
    assert rounds <= steps
    assert len(copies) == min(rounds, 36)
    assert int(copies.max() - copies.min()) <= 1


def test_without_a_budget_nothing_is_played() -> None:
    poison = Steinhardt(0)(PAIR, seed=0)
    assert (len(poison), dict(poison.notes)) == (0, {})


@pytest.mark.parametrize("classes", [1, 2])
def test_data_of_one_class_is_refused(classes: int) -> None:
    split = Split(PAIR.train.x[:5], torch.zeros(5, dtype=torch.int64))
    with pytest.raises(ValueError, match="all training rows are of one class"):
        BRIEF(Dataset("one", split, split, num_classes=classes), seed=0)


def test_more_than_two_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="binary tasks, and this one has 3 classes"):
        BRIEF(blobs(), seed=0)


def test_progress_is_told() -> None:
    told: list[Crafting] = []
    replace(BRIEF, steps=50)(PAIR, seed=0, progress=told.append)
    assert told
    assert told[-1].objective > 0


@pytest.mark.parametrize(
    ("attack", "label", "family"),
    [
        (Steinhardt(0.4), "steinhardt_40", "steinhardt"),
        (Steinhardt(0.005), "steinhardt_0.5", "steinhardt"),
        (Steinhardt(0.4, clip_afterwards=True), "steinhardt_clipped_40", "steinhardt_clipped"),
        (Steinhardt(0.4, quantile=0.9, rho=8**0.5), "steinhardt_q90_r8_40", "steinhardt_q90_r8"),
    ],
    ids=["whole", "half", "clipped", "wide"],
)
def test_the_label_says_the_percentage_and_the_mode(attack: Steinhardt, label: str, family: str) -> None:
    assert (attack.label, attack.family) == (label, family)


@pytest.mark.parametrize(
    ("name", "value"),
    [("fraction", -0.1), ("rho", 0.0), ("eta", 0.0), ("steps", 0), ("quantile", 0.0), ("quantile", 1.5)],
)
def test_what_is_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}={value}"):
        replace(BRIEF, **{name: value})  # type: ignore[arg-type]


def test_real_pictures_are_poisoned_feasibly() -> None:
    try:
        dataset = data.load("fashion_mnist_34", download=False)
    except FileNotFoundError as error:
        pytest.skip(f"the data is not here: {error}")
    small = dataset.subset(train=400)
    attack = Steinhardt(0.4, steps=60)
    poison = attack(small, seed=0)
    assert _sets(attack, small).contains(poison.x.flatten(1), poison.y).all()
    assert poison.notes["objective_reached"] <= poison.notes["certified_bound"] + 1e-3
