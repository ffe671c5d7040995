import math

import pytest
import torch

from gradshape.attacks import LabelFlip
from gradshape.constraints import FeasibleSets
from gradshape.data import Dataset, Split, load
from gradshape.defenses import OracleSphereSlabFilter, SphereSlabFilter
from gradshape.defenses.sphere_slab import inside_sphere_and_slab
from gradshape.training import SGD, Recipe
from tests.defenses.rows import gaussians, joined, labelled, mask_of

RECIPE = Recipe("lr", SGD(0.1), batch_size=7, epochs=1)
CLEAN = gaussians(300, seed=0, features=5)
FAR = labelled(torch.full((20, 5), 6.0), 0)
KINDS = [SphereSlabFilter, OracleSphereSlabFilter]


@pytest.mark.parametrize("quantile", [0.3, 0.7, 0.9, 1.0])
def test_two_classes_pass_by_the_sets_that_attacks_stay_in(quantile: float) -> None:
    rows = joined(gaussians(100, seed=1, features=5), FAR)
    sets = FeasibleSets.from_rows(CLEAN.x, CLEAN.y, quantile=quantile)
    assert torch.equal(mask_of(OracleSphereSlabFilter(quantile), rows, clean=CLEAN), sets.contains(rows.x, rows.y))
    sets = FeasibleSets.from_rows(rows.x, rows.y, quantile=quantile)
    assert torch.equal(mask_of(SphereSlabFilter(quantile), rows), sets.contains(rows.x, rows.y))


@pytest.mark.parametrize("name", ["two_moons", "digits"])
@pytest.mark.parametrize("quantile", [0.7, 0.9])
def test_flips_that_are_crafted_to_pass_the_oracle_pass_it(name: str, quantile: float) -> None:
    dataset = load(name)
    poison = LabelFlip(0.1, feasible_quantile=quantile)(dataset, seed=0)
    keep = inside_sphere_and_slab(Split(poison.x, poison.y), quantile=quantile, statistics=dataset.train)
    free = LabelFlip(0.1)(dataset, seed=0)
    by_chance = inside_sphere_and_slab(Split(free.x, free.y), quantile=quantile, statistics=dataset.train)
    assert 2 * by_chance.double().mean() < keep.double().mean()
    # With more classes the slab of the filter may be another one than that of the attack.
    assert bool(keep.all()) or dataset.num_classes > 2


def test_both_sphere_and_slab_bind() -> None:
    x = torch.tensor([[0.0, 0.0], [0.0, 0.9], [0.9, 0.0], [0.0, 1.1], [1.1, 0.0]])
    square = torch.tensor([[0.5, 0.9], [0.5, -0.9], [-0.5, 0.9], [-0.5, -0.9]])
    clean = joined(labelled(square, 0), labelled(square + torch.tensor([10.0, 0.0]), 1))
    keep = inside_sphere_and_slab(labelled(x, 0), quantile=1.0, statistics=clean)
    # Radius 1.03, half-width 0.5.
    assert keep.tolist() == [True, True, False, False, False]


def test_at_quantile_one_nothing_clean_goes() -> None:
    assert bool(mask_of(OracleSphereSlabFilter(1.0), CLEAN, clean=CLEAN).all())
    assert bool(mask_of(SphereSlabFilter(1.0), CLEAN).all())


def test_a_larger_quantile_keeps_more() -> None:
    rows = joined(gaussians(100, seed=1, features=5, classes=3), FAR)
    clean = gaussians(300, seed=0, features=5, classes=3)
    before = torch.zeros(len(rows), dtype=torch.bool)
    for quantile in (0.1, 0.3, 0.5, 0.7, 0.9, 1.0):
        keep = inside_sphere_and_slab(rows, quantile=quantile, statistics=clean)
        assert bool((keep | ~before).all())
        before = keep
    assert 0 < int(before.sum()) < len(rows)


def test_with_frozen_radii_filtering_again_removes_nothing() -> None:
    rows = joined(gaussians(100, seed=1, features=5), FAR)
    defense = OracleSphereSlabFilter(0.7)
    mask = mask_of(defense, rows, clean=CLEAN)
    assert not mask.all()
    assert bool(mask_of(defense, Split(rows.x[mask], rows.y[mask]), clean=CLEAN).all())


def test_with_radii_of_its_own_rows_filtering_again_removes_more() -> None:
    mask = mask_of(SphereSlabFilter(0.7), CLEAN)
    assert not mask_of(SphereSlabFilter(0.7), Split(CLEAN.x[mask], CLEAN.y[mask])).all()


def test_poison_moves_its_own_radii_and_not_those_of_the_oracle() -> None:
    many = labelled(torch.full((150, 5), 6.0), 0)
    rows = joined(CLEAN, many)
    poison = torch.arange(len(rows)) >= len(CLEAN)
    assert not mask_of(OracleSphereSlabFilter(0.9), rows, clean=CLEAN)[poison].any()
    assert bool(mask_of(SphereSlabFilter(0.9), rows)[poison].all())


def test_zero_poison_is_filtered_alike() -> None:
    assert torch.equal(mask_of(SphereSlabFilter(0.7), CLEAN), mask_of(OracleSphereSlabFilter(0.7), CLEAN, clean=CLEAN))


def test_a_class_of_one_row_stays() -> None:
    assert mask_of(SphereSlabFilter(0.7), joined(CLEAN, labelled(torch.full((1, 5), 50.0), 2)))[-1]


def test_one_class_alone_has_a_sphere_only() -> None:
    rows = labelled(torch.rand(101, 3, generator=torch.Generator().manual_seed(0)), 0)
    assert int(mask_of(SphereSlabFilter(0.7), rows).sum()) == 71


def test_rows_that_are_all_the_same_stay() -> None:
    assert bool(mask_of(SphereSlabFilter(0.7), Split(torch.full((40, 3), 0.3), torch.arange(40) % 2)).all())


def test_a_class_without_clean_rows_is_outside() -> None:
    rows = joined(CLEAN, labelled(CLEAN.x[:3], 2))
    assert inside_sphere_and_slab(rows, quantile=1.0, statistics=CLEAN).tolist() == [True] * 300 + [False] * 3


def test_an_oracle_that_removes_a_class_is_an_error() -> None:
    rows = joined(labelled(CLEAN.x[CLEAN.y == 0], 0), labelled(torch.full((5, 5), 50.0), 1))
    with pytest.raises(ValueError, match="removes all rows of class 1"):
        mask_of(OracleSphereSlabFilter(0.9), rows, clean=CLEAN)


def test_order_of_rows_does_not_matter() -> None:
    rows = joined(gaussians(100, seed=1, features=5, classes=3), FAR)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    shuffled = mask_of(SphereSlabFilter(0.7), Split(rows.x[order], rows.y[order]))
    assert torch.equal(shuffled, mask_of(SphereSlabFilter(0.7), rows)[order])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("quantile", [0.0, -0.1, 1.1, math.nan])
def test_a_quantile_out_of_range_is_refused(kind: type, quantile: float) -> None:
    with pytest.raises(ValueError, match=r"quantile=.*: expected a number in \(0, 1\]"):
        kind(quantile)


def test_labels() -> None:
    assert SphereSlabFilter().label_for(RECIPE) == "sphere_slab_q70"
    assert OracleSphereSlabFilter(0.9).label_for(RECIPE) == "oracle_sphere_slab_q90"


def test_only_the_oracle_knows_the_clean_rows() -> None:
    assert OracleSphereSlabFilter.assumptions.knows_clean
    assert not SphereSlabFilter.assumptions.knows_clean


@pytest.mark.parametrize("kind", KINDS)
def test_regression_is_unsuitable(kind: type) -> None:
    rows = Split(torch.rand(5, 2), torch.rand(5))
    assert "regression" in kind().unsuitable(Dataset("numbers", rows, rows, num_classes=0), RECIPE)
