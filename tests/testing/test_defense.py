"""A defence that breaks a promise is caught, by the promise's name and with the value."""

import gc
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from gradshape.data import Dataset, PoisonedRows, Split
from gradshape.defenses import FILTER, Assumptions, Defense, Suspect
from gradshape.shaping import Shaper
from gradshape.testing import BrokenPromise, check_defense, defense_checks
from gradshape.testing._datasets import blobs
from gradshape.testing.defense import PROMISES, gives_the_same_on_the_device
from gradshape.training import SGD, AnyRecipe, Recipe
from tests.pretend import NAME, pretend_device
from tests.testing.broken import broken_by, names
from tests.testing.test_shaper import Weigh

_calls = itertools.count()
RECIPE = Recipe("lr", SGD(0.1), batch_size=7, epochs=1)


@dataclass(frozen=True)
class Keeps(Defense):
    """Keeps what ``name`` says; honestly the rows nearer to the middle of their class than its farthest one."""

    name: str = "nearest"

    assumptions: ClassVar[Assumptions] = replace(FILTER, source="test")

    def label_for(self, recipe: AnyRecipe) -> str:
        return self.name

    def unsuitable(self, dataset: Dataset, recipe: AnyRecipe) -> str | None:
        return "it goes by class" if dataset.regression else None

    def keep(self, train: Suspect, *, generator: torch.Generator) -> Tensor | None:
        return MASKS.get(self.name, _nearest)(train, generator)


def _nearest(train: Suspect, generator: torch.Generator) -> Tensor:
    keep = torch.ones(len(train), dtype=torch.bool)
    for label in train.y.unique().tolist():
        members = (train.y == label).nonzero().squeeze(1)
        x = train.x[members].double()
        keep[members[(x - x.mean(0)).norm(dim=1).argmax()]] = False
    return keep


def _all(train: Suspect) -> Tensor:
    return torch.ones(len(train), dtype=torch.bool)


def _reused(mask: Tensor) -> Tensor:
    return _memory.setdefault(len(mask), torch.empty_like(mask)).copy_(mask)


_memory: dict[int, Tensor] = {}


def _moved(mask: Tensor) -> Tensor:
    torch.set_default_dtype(torch.float64)
    return mask


def _spied(train: Suspect, generator: torch.Generator) -> Tensor:
    """Find the poison where no defence may look: among all objects of the process."""
    # By type, since some objects answer isinstance with a warning.
    kinds = (PoisonedRows, *PoisonedRows.__subclasses__())
    secret = [found for found in gc.get_objects() if type(found) in kinds and len(found) == len(train)]
    return ~secret[-1].is_poison(torch.arange(len(train))) if secret else _nearest(train, generator)


MASKS: dict[str, Callable[[Suspect, torch.Generator], Tensor | None]] = {
    "ids": lambda train, _: torch.arange(len(train)),
    "short": lambda train, _: _all(train)[1:],
    "no-class-0": lambda train, _: train.y != 0,
    "nothing": lambda train, _: ~_all(train),
    "unseeded": lambda train, _: torch.arange(len(train)) != next(_calls) % 9,
    "reused": lambda train, generator: _reused(_nearest(train, generator)),
    "first": lambda train, _: torch.arange(len(train)) < len(train) - 4,
    "writes": lambda train, _: train.x.zero_()[:, 0] == 0,
    "global": lambda train, _: torch.rand(len(train)) < 2,
    "moves": lambda train, _: _moved(_all(train)),
    "spy": _spied,
    "thief": lambda train, _: ~train.poison,
}


class Unfrozen(Keeps):
    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


class ForgetsItsName(Keeps):
    def __reduce__(self) -> Any:
        return type(self), ()

    def __deepcopy__(self, memo: object) -> "ForgetsItsName":
        return ForgetsItsName(self.name)


class Unpublished(Keeps):
    assumptions: ClassVar[Assumptions] = replace(FILTER, source="")


class Mumbles(Keeps):
    def unsuitable(self, dataset: Dataset, recipe: AnyRecipe) -> str | None:
        return "no" if dataset.regression else None


class Restless(Keeps):
    def shape(self, recipe: AnyRecipe) -> AnyRecipe:
        assert isinstance(recipe, Recipe)
        return replace(recipe, epochs=1 + next(_calls))


class Hurries(Keeps):
    def shape(self, recipe: AnyRecipe) -> AnyRecipe:
        assert isinstance(recipe, Recipe)
        return replace(recipe, optimizer=SGD(1e30))


@dataclass(frozen=True)
class Weighs(Keeps):
    """Shapes by the part of that name."""

    def shape(self, recipe: AnyRecipe) -> AnyRecipe:
        assert isinstance(recipe, Recipe)
        return recipe.with_shaper(Shaper((Weigh(self.name),)))


class Distrusts(Keeps):
    assumptions: ClassVar[Assumptions] = replace(FILTER, source="test", knows_clean=True)

    def trusted(self, clean: Split, *, generator: torch.Generator) -> Tensor | None:
        return None


class Modest(Keeps):
    @property
    def filters(self) -> bool:
        return False


BROKEN: list[tuple[Defense, str, str]] = [
    (Keeps("my filter=1"), "has-a-label-for-ids", "'my filter=1'"),
    (Unfrozen(), "is-a-frozen-value", "can be set"),
    (ForgetsItsName("other"), "can-be-sent-to-a-process", "not equal"),
    (Unpublished(), "says-what-it-assumes", "source=''"),
    (Mumbles(), "says-in-words-why-it-is-unsuitable", "'no' on values"),
    (Restless(), "gives-a-recipe-for-a-recipe", "of the same recipe"),
    (Modest(), "filters-if-it-says-so", "filters=False"),
    (Keeps("ids"), "gives-one-truth-value-a-row", "torch.int64"),
    (Keeps("short"), "gives-one-truth-value-a-row", "(43,)"),
    (Keeps("no-class-0"), "keeps-a-row-of-every-class", "class 0"),
    (Keeps("nothing"), "keeps-a-row-of-every-class", "all 44 rows"),
    (Keeps("nothing"), "passes-the-checks-of-the-call", "removes all"),
    (Keeps("unseeded"), "judges-the-same-from-the-same-seed", "2 rows"),
    (Keeps("reused"), "judges-the-same-from-the-same-seed", "memory of the mask that an earlier call returned"),
    (Keeps("first"), "judges-rows-wherever-they-stand", "the order of the rows"),
    (Keeps("spy"), "learns-nothing-of-which-rows-are-poison", "rows otherwise"),
    (Distrusts(), "trusts-the-rows-that-it-uses", "trusted() gives None"),
    (Keeps("writes"), "writes-nothing-to-what-it-is-shown", "train.x was changed"),
    (Keeps("global"), "leaves-the-randomness-of-the-process-alone", "torch's generator"),
    (Keeps("moves"), "leaves-the-state-of-the-process-alone", "torch's default dtype is torch.float64"),
    (Keeps("thief"), "asks-for-what-it-assumes", "grant no knowledge of poison"),
    (Hurries(), "leaves-something-to-train-on", "diverged"),
]


@pytest.mark.parametrize(
    ("defense", "promise", "value"), BROKEN, ids=[f"{promise}-{place}" for place, (_, promise, _) in enumerate(BROKEN)]
)
def test_a_broken_promise_is_named_with_the_value(defense: Defense, promise: str, value: str) -> None:
    found = broken_by(defense_checks(defense))
    assert value in found[promise]
    assert defense.label_for(RECIPE) in found[promise]


def test_no_promise_is_vacuous() -> None:
    assert {promise for _, promise, _ in BROKEN} == names(PROMISES)


def test_an_honest_defense_breaks_none() -> None:
    assert broken_by(defense_checks(Keeps())) == {}
    check_defense(Keeps(), dataset=blobs(rows=20), recipe=RECIPE)


def test_the_first_broken_promise_is_raised() -> None:
    with pytest.raises(BrokenPromise, match=r"ids breaks the promise 'gives-one-truth-value-a-row'"):
        check_defense(Keeps("ids"))


def test_a_device_that_is_forgotten_is_found() -> None:
    [name] = names([gives_the_same_on_the_device])
    with pretend_device():
        assert "same device" in broken_by(defense_checks(Weighs("cpu"), device=NAME))[name]
        assert broken_by(defense_checks(Weighs("damp"), device=NAME)) == {}


class Never(Keeps):
    def unsuitable(self, dataset: Dataset, recipe: AnyRecipe) -> str | None:
        return "it is made for the moon"


def test_who_suits_nothing_is_told_why() -> None:
    with pytest.raises(ValueError, match=r"made for the moon.*pass dataset="):
        defense_checks(Never())
