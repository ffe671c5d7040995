"""A defence that wants to know which rows are poison does not find out by anything that it can reach."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from gradshape import _seeds
from gradshape.attacks import PoisonSet
from gradshape.data import Dataset, Split
from gradshape.defenses import Assumptions, Defense, DefenseKind, PerfectFilter, Suspect
from gradshape.training import SGD, AnyRecipe, Recipe
from gradshape_bench.jobs import Filter
from tests.reachable import reachable, surroundings

POISONS, CLEAN = 137, 400
MARK = 0.8125
RECIPE = Recipe("lr", SGD(0.1), batch_size=7, epochs=1)

found: list[Any] = []


def rows(count: int, seed: int) -> Split:
    """Rows below 0.5, so that poison, which is all of ``MARK``, can be told by the test."""
    x = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) / 2
    return Split(x, torch.arange(count) % 2)


DATA = Dataset("marked", rows(CLEAN, 0), rows(50, 1), num_classes=2)


def poison(count: int = POISONS, *, replaced: int = 0, label: int = 1) -> PoisonSet:
    y = torch.full((count,), label)
    return PoisonSet(torch.full((count, 3), MARK), y, source=torch.full((count,), -1), replaced=torch.arange(replaced))


@dataclass(frozen=True)
class Thief(Defense):
    """Keeps, for the test, what it was shown and what it can get at from there."""

    assumptions: ClassVar[Assumptions] = Assumptions(
        kind=DefenseKind.OUTLIER_REMOVAL,
        indiscriminate=True,
        targeted=True,
        knows_training_data=False,
        knows_model=False,
        knows_targets=False,
        overhead=False,
        source="test",
    )

    def label_for(self, recipe: AnyRecipe) -> str:
        return "thief"

    def keep(self, train: Suspect, *, generator: torch.Generator) -> Tensor:
        found.append((train, list(reachable(train, self, generator, surroundings()))))
        return torch.ones(len(train), dtype=torch.bool)


@dataclass(frozen=True)
class Informed(Thief):
    """The same thief, where somebody told it."""

    assumptions: ClassVar[Assumptions] = replace(Thief.assumptions, knows_poison=True, knows_budget=True)


def run(defense: Defense, crafted: PoisonSet | None, *, seed: int = 0) -> tuple[Suspect, list[Any]]:
    found.clear()
    Filter(DATA, "cpu", defense, recipe=RECIPE, poison=crafted, seed=seed, targets=DATA.test).do(lambda _: None)
    [(train, things)] = found
    return train, things


def is_poison(train: Split) -> Tensor:
    return (train.x == MARK).all(1)


@pytest.mark.parametrize("replaced", [0, 40])
def test_no_array_but_the_rows_can_be_reached(replaced: int) -> None:
    train, things = run(Thief(), poison(replaced=replaced))
    tensors = [thing for thing in things if isinstance(thing, Tensor)]
    assert {id(tensor) for tensor in tensors} == {id(train.x), id(train.y)}
    assert not any(isinstance(thing, (PoisonSet, Filter, Dataset)) for thing in things)


def test_what_is_granted_would_be_found() -> None:
    train, things = run(Informed(), poison())
    assert any(isinstance(thing, Tensor) and torch.equal(thing, is_poison(train)) for thing in things)
    assert any(thing == POISONS for thing in things if isinstance(thing, int))


def test_the_number_of_poison_rows_is_not_told() -> None:
    train, _ = run(Thief(), poison())
    assert not any(thing == POISONS for thing in reachable(vars(train)) if isinstance(thing, int))


@pytest.mark.parametrize("name", ["recipe", "model", "clean", "targets", "budget", "poison"])
def test_what_is_not_assumed_is_refused(name: str) -> None:
    train, _ = run(Thief(), poison())
    with pytest.raises(PermissionError, match="grant no knowledge of"):
        getattr(train, name)


def test_assumptions_that_are_changed_afterwards_grant_nothing() -> None:
    train, _ = run(Thief(), poison())
    object.__setattr__(train, "_assumed", PerfectFilter.assumptions)
    with pytest.raises(ValueError, match="no poison was given"):
        _ = train.poison
    assert train._granted == {}


@pytest.mark.parametrize("name", ["x", "y"])
def test_there_is_nothing_behind_the_rows_memory(name: str) -> None:
    train, _ = run(Thief(), poison(replaced=40))
    array = getattr(train, name)
    assert array._base is None
    assert array.storage_offset() == 0
    assert array.is_contiguous()
    assert array.untyped_storage().nbytes() == array.numel() * array.element_size()


@pytest.mark.parametrize("seed", range(4))
def test_places_tell_no_more_than_chance(seed: int) -> None:
    train, _ = run(Thief(), poison(), seed=seed)
    secret = is_poison(train)
    assert int(secret.sum()) == POISONS
    share, deviation = POISONS / len(train), (POISONS / 4) ** 0.5
    places = torch.arange(len(train))
    guesses = [places < POISONS, places >= len(train) - POISONS, places % 4 == 0, places % 2 == 0]
    for guess in guesses:
        assert int((secret & guess).sum()) == pytest.approx(share * int(guess.sum()), abs=5 * deviation)


def test_places_cannot_be_computed_from_the_seed() -> None:
    one, _ = run(Thief(), poison(label=1))
    other, _ = run(Thief(), poison(label=0))
    assert not torch.equal(is_poison(one), is_poison(other))
    order = torch.randperm(len(one), generator=_seeds.stream(0, "filter order", ""))
    assert not torch.equal(is_poison(one), order >= CLEAN)


def test_generator_is_the_same_whatever_the_poison() -> None:
    states = []
    for crafted in (None, poison(), poison(3)):
        _, things = run(Thief(), crafted)
        [generator] = [thing for thing in things if isinstance(thing, torch.Generator)]
        states.append(generator.initial_seed())
    assert len(set(states)) == 1


def test_mask_comes_back_in_the_order_of_the_job() -> None:
    keep = Filter(DATA, "cpu", PerfectFilter(), recipe=None, poison=poison(), seed=0).do(lambda _: None).result
    assert torch.equal(keep, torch.arange(CLEAN + POISONS) < CLEAN)
