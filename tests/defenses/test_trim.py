from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gradshape.attacks import OptP, SeverPairs, StatP
from gradshape.data import Dataset, Split, load
from gradshape.defenses import TRIM, Suspect
from gradshape.defenses.trim import trim
from gradshape.learners.linear import Penalty, fit_linear, training_objective
from gradshape.testing._datasets import plane, plane_rows
from gradshape.training import SGD, AnyRecipe, Fit, Recipe

RIDGE = Penalty(l2=1e-3)
CLEAN, TEST = plane_rows(300), plane_rows(500, seed=9)
RECIPES: list[AnyRecipe] = [Fit("linear"), Fit("ridge"), Fit("lasso")]


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def corners(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random corners with the farther of the values 0 and 1."""
    x = torch.randint(2, (count, 5), generator=_generator(seed)).double()
    return x, (1 - fit_linear(*CLEAN).predict(x).clamp(0, 1)).round()


def poisoned(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    x, y = corners(count, seed)
    return torch.cat([CLEAN[0], x]), torch.cat([CLEAN[1], y])


def suspect(x: Tensor, y: Tensor, defense: TRIM, *, recipe: AnyRecipe, budget: int | None) -> Suspect:
    return Suspect(x, y, num_classes=0, assumptions=defense.assumptions, recipe=recipe, budget=budget)


@pytest.mark.parametrize("count", [12, 30, 60, 75], ids=["4%", "10%", "20%", "25%"])
def test_corners_with_flipped_values_are_all_found(count: int) -> None:
    x, y = poisoned(count)
    end = trim(x, y, 300, penalty=RIDGE, generator=_generator())
    assert end.keep[:300].all()
    assert not end.keep[300:].any()
    clean, undefended, defended = (
        fit_linear(*rows, penalty=RIDGE).mse(*TEST) for rows in (CLEAN, (x, y), (x[end.keep], y[end.keep]))
    )
    assert defended < 1.5 * clean < undefended


@pytest.mark.parametrize("penalty", [Penalty(), RIDGE, Penalty(l1=1e-3)], ids=["ols", "ridge", "lasso"])
@pytest.mark.parametrize("seed", range(3))
def test_the_objective_never_increases(penalty: Penalty, seed: int) -> None:
    x, y = poisoned(75, seed)
    end = trim(x, y, 300, penalty=penalty, generator=_generator(seed), first=20, tolerance=0)
    assert len(end.path) > 2
    assert all(later <= earlier + 1e-15 for earlier, later in zip(end.path, end.path[1:], strict=False))
    of_keep = training_objective(x[end.keep], y[end.keep], end.fit, penalty=penalty)
    assert end.path[-1] == pytest.approx(of_keep)


def test_an_end_is_a_fixed_point() -> None:
    x, y = poisoned(60)
    end = trim(x, y, 300, penalty=RIDGE, generator=_generator(), tolerance=0)
    fit = fit_linear(x[end.keep], y[end.keep], penalty=RIDGE)
    errors = (fit.predict(x) - y).square()
    assert errors[end.keep].max() <= errors[~end.keep].min()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.model)
@pytest.mark.parametrize("attack", [OptP(0.2), StatP(0.2)], ids=lambda attack: attack.label)
def test_it_defends_a_victim_against_attacks_made_for_it(attack: OptP | StatP, recipe: Fit) -> None:
    dataset = plane(rows=200, noise=0.02)
    poison = attack(dataset, seed=0, recipe=recipe)
    x, y = torch.cat([dataset.train.x, poison.x]), torch.cat([dataset.train.y, poison.y])
    mask = TRIM().filter(suspect(x, y, TRIM(), recipe=recipe, budget=len(poison)), generator=_generator())
    assert mask is not None
    assert mask.sum() == 200
    assert mask[200:].sum() <= 2


def test_few_first_rows_find_a_better_end_where_poison_agrees_with_itself() -> None:
    dataset, pen = load("nuclei_area"), Penalty(l2=1 / 400)
    poison = SeverPairs(0.2)(dataset, seed=0)
    x = torch.cat([dataset.train.x, poison.x]).double()
    y = torch.cat([dataset.train.y, poison.y]).double()
    usual, few = (
        min((trim(x, y, 400, penalty=pen, generator=_generator(s), first=first) for s in range(30)), key=_last)
        for first in (None, 12)
    )
    assert few.path[-1] < 0.9 * usual.path[-1]
    assert not few.keep[400:].any()


def _last(end: object) -> float:
    return end.path[-1]  # type: ignore[attr-defined,no-any-return]


def test_told_that_there_is_no_poison_it_keeps_all() -> None:
    mask = TRIM().filter(suspect(*CLEAN, TRIM(), recipe=Fit("ridge"), budget=0), generator=_generator())
    assert mask is not None
    assert mask.all()


def test_an_assumed_fraction_takes_the_place_of_the_budget() -> None:
    x, y = poisoned(60)
    defense = TRIM(fraction=0.2)
    assert TRIM().assumptions.knows_budget
    assert not defense.assumptions.knows_budget
    mask = defense.filter(suspect(x, y, defense, recipe=Fit("ridge"), budget=7), generator=_generator())
    assert mask is not None
    assert mask.sum() == 300
    assert not mask[300:].any()


def test_clean_rows_are_not_looked_at() -> None:
    told = Suspect(*poisoned(20), num_classes=0, assumptions=TRIM.assumptions, recipe=Fit("ridge"), budget=20)
    with pytest.raises(PermissionError, match="no knowledge of clean"):
        _ = told.clean
    assert TRIM().filter(told, generator=_generator()) is not None


def test_the_same_generator_gives_the_same_rows() -> None:
    x, y = poisoned(60)
    rows = suspect(x, y, TRIM(), recipe=Fit("ridge"), budget=60)
    first, second = (TRIM(starts=2, first=9).filter(rows, generator=_generator(3)) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.equal(second)


@pytest.mark.parametrize("count", [0, 301])
def test_a_number_of_rows_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=rf"count={count}: expected a number of rows from 1 to 300"):
        trim(*CLEAN, count, penalty=RIDGE, generator=_generator())


def test_it_is_for_linear_regressions() -> None:
    values = plane()
    flags = (values.train.y > 0.5).long()
    classes = Dataset("classes", Split(values.train.x, flags), Split(values.train.x, flags), num_classes=2)
    network = Recipe("lr", SGD(0.1), batch_size=5, epochs=1)
    assert TRIM().unsuitable(values, Fit("lasso")) is None
    assert "classification" in str(TRIM().unsuitable(classes, Fit("ridge")))
    assert "lr is none" in str(TRIM().unsuitable(values, network))
    assert TRIM(penalty=RIDGE).unsuitable(values, network) is None


def test_a_victim_that_is_no_linear_regression_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a Fit of a linear regression"):
        TRIM().filter(suspect(*CLEAN, TRIM(), recipe=Fit("svm_rbf"), budget=3), generator=_generator())


@pytest.mark.parametrize("setting", [{"fraction": -0.1}, {"starts": 0}, {"first": 0}], ids=str)
def test_settings_out_of_range_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(setting))}=.*expected"):
        replace(TRIM(), **setting)  # type: ignore[arg-type]


def test_labels_tell_variants_apart() -> None:
    variants = [TRIM(), TRIM(fraction=0.2), TRIM(starts=50, first=11), TRIM(penalty=RIDGE)]
    labels = [variant.label_for(Fit("ridge")) for variant in variants]
    assert labels == ["trim", "trim_20", "trim_starts50_first11", "trim_l2-0.001"]
