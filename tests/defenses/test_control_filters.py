import pytest
import torch

from gradshape.attacks import LabelFlip, PoisonSet
from gradshape.data import Dataset, Split, load
from gradshape.defenses import Defense, DefenseKind, PerfectFilter, RandomFilter, Suspect
from gradshape.training import SGD, Recipe
from gradshape_bench.jobs import Filter

MOONS = load("two_moons")
RECIPE = Recipe("lr", SGD(0.1), batch_size=7, epochs=1)


def kept(defense: Defense, poison: PoisonSet | None, *, seed: int = 0) -> torch.Tensor:
    return Filter.by(MOONS, "cpu", defense, recipe=RECIPE, poison=poison, seed=seed).do(lambda _: None).result


@pytest.mark.parametrize("fraction", [0.01, 0.4, 1.0])
def test_the_perfect_filter_keeps_the_clean_rows_and_no_others(fraction: float) -> None:
    poison = LabelFlip(fraction)(MOONS, seed=0)
    assert torch.equal(kept(PerfectFilter(), poison), torch.arange(700 + len(poison)) < 700)


@pytest.mark.parametrize("seed", range(3))
def test_the_random_filter_removes_as_many_rows_as_there_is_poison(seed: int) -> None:
    poison = LabelFlip(0.3)(MOONS, seed=0)
    assert int((~kept(RandomFilter(), poison, seed=seed)).sum()) == len(poison) == 210


def test_the_random_filter_finds_poison_by_chance_only() -> None:
    poison = LabelFlip(0.4)(MOONS, seed=0)
    shares = [(~kept(RandomFilter(), poison, seed=seed))[700:].double().mean().item() for seed in range(10)]
    # 280 of 980 rows, with a standard deviation of 0.007 of the mean.
    assert sum(shares) / 10 == pytest.approx(280 / 980, abs=0.03)


def test_other_seeds_remove_other_rows() -> None:
    poison = LabelFlip(0.1)(MOONS, seed=0)
    assert not torch.equal(kept(RandomFilter(), poison, seed=0), kept(RandomFilter(), poison, seed=1))


@pytest.mark.parametrize("defense", [PerfectFilter(), RandomFilter()], ids=str)
def test_without_poison_nothing_goes(defense: Defense) -> None:
    assert bool(kept(defense, None).all())


def test_replaced_rows_are_gone_and_poison_is_removed_all_the_same() -> None:
    source = torch.arange(7)
    poison = PoisonSet(MOONS.train.x[:7], 1 - MOONS.train.y[:7], source=source, replaced=source)
    assert torch.equal(kept(PerfectFilter(), poison), torch.arange(707) < 700)


@pytest.mark.parametrize("defense", [PerfectFilter(), RandomFilter()], ids=str)
def test_regression_is_filtered_too(defense: Defense) -> None:
    rows = Split(torch.rand(9, 2), torch.rand(9))
    assert defense.unsuitable(Dataset("numbers", rows, rows, num_classes=0), RECIPE) is None
    poison = torch.arange(9) < 3
    train = Suspect(rows.x, rows.y, num_classes=0, assumptions=defense.assumptions, budget=3, poison=poison)
    mask = defense.filter(train, generator=torch.Generator().manual_seed(0))
    assert mask is not None
    assert int(mask.sum()) == 6


def test_a_class_that_is_all_poison_cannot_be_removed() -> None:
    poison = torch.arange(9) < 3
    train = Suspect(
        torch.rand(9, 2), poison.long(), num_classes=2, assumptions=PerfectFilter.assumptions, poison=poison
    )
    with pytest.raises(ValueError, match="removes all rows of class 1"):
        PerfectFilter().filter(train, generator=torch.Generator())


@pytest.mark.parametrize("defense", [PerfectFilter(), RandomFilter()], ids=str)
def test_controls_are_marked(defense: Defense) -> None:
    assert defense.assumptions.kind is DefenseKind.CONTROL
    assert defense.assumptions.knows_poison or defense.assumptions.knows_budget


def test_controls_are_refused_what_they_need_by_those_who_do_not_know() -> None:
    for defense in (PerfectFilter(), RandomFilter()):
        with pytest.raises(ValueError, match="was given to the defence"):
            defense.filter(MOONS.train, generator=torch.Generator())
