from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from gradshape import _seeds
from gradshape.data import Split, load
from gradshape.defenses import (
    FILTER,
    RONI,
    Assumptions,
    Defense,
    NoDefense,
    OracleSphereSlabFilter,
    SphereFilter,
    Suspect,
    TargetedRONI,
    trusted_rows,
)
from gradshape.training import AnyRecipe

DIGITS = load("two_moons")
TRAIN = DIGITS.train


@pytest.mark.parametrize("defense", [NoDefense(), SphereFilter(0.1)], ids=repr)
def test_who_is_given_no_clean_rows_trusts_none(defense: Defense) -> None:
    assert trusted_rows(defense, TRAIN, seed=0) is None


def test_who_takes_statistics_of_all_clean_rows_trusts_all() -> None:
    mask = trusted_rows(OracleSphereSlabFilter(), TRAIN, seed=0)
    assert mask is not None
    assert mask.all()


@pytest.mark.parametrize("defense", [RONI(), TargetedRONI()], ids=repr)
def test_few_trusted_rows_are_the_only_ones_that_are_used(defense: Defense) -> None:
    """What all the other clean rows say changes nothing, so the mask of trusted rows is true to what is used."""
    mask = trusted_rows(defense, TRAIN, seed=3)
    assert mask is not None
    assert 0 < int(mask.sum()) < len(TRAIN) - 100
    other = Split(torch.where(mask[:, None], TRAIN.x.flatten(1), 0.5).view_as(TRAIN.x), TRAIN.y.clone())
    kept = [_kept(defense, clean) for clean in (TRAIN, other)]
    assert torch.equal(*kept)
    assert torch.equal(mask, trusted_rows(defense, TRAIN, seed=3))  # type: ignore[arg-type]
    assert not torch.equal(mask, trusted_rows(defense, TRAIN, seed=4))  # type: ignore[arg-type]


def _kept(defense: Defense, clean: Split) -> Tensor:
    suspect = Suspect(
        TRAIN.x[:40],
        TRAIN.y[:40],
        num_classes=2,
        assumptions=defense.assumptions,
        clean=clean,
        targets=Split(DIGITS.test.x[:1], DIGITS.test.y[:1]),
    )
    kept = defense.keep(suspect, generator=_seeds.stream(3, "filter"))
    assert kept is not None
    return kept


@dataclass(frozen=True)
class Careless(Defense):
    """Trusts what its name says."""

    name: str

    assumptions: ClassVar[Assumptions] = replace(FILTER, source="test", knows_clean=True)

    def label_for(self, recipe: AnyRecipe) -> str:
        return self.name

    def trusted(self, clean: Split, *, generator: torch.Generator) -> Tensor | None:
        if self.name == "writes":
            clean.x.zero_()
        return {"ids": torch.arange(len(clean)), "none": torch.zeros(len(clean), dtype=torch.bool)}.get(
            self.name, torch.ones(len(clean), dtype=torch.bool)
        )


@pytest.mark.parametrize(
    ("name", "message"),
    [("ids", r"trusts torch.int64 .*expected a bool"), ("none", "with at least 1 row"), ("writes", "clean.x")],
)
def test_what_cannot_be_trusted_rows_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trusted_rows(Careless(name), TRAIN, seed=0)
