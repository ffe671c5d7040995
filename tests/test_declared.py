"""What the author of an attack or a defence leaves out is said when the class is defined."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from gradshape.attacks import BLACK_BOX, Attack, LabelFlip, ThreatModel
from gradshape.defenses import FILTER, Assumptions, Defense, GradientShaping
from gradshape.training import AnyRecipe
from tests.training.samples import blobs


def test_an_attack_without_a_threat_model_is_refused_when_it_is_defined() -> None:
    with pytest.raises(TypeError, match=r"^attack Silent has no threat: expected threat = \.\.\., .*BLACK_BOX"):

        class Silent(Attack):
            label = "silent"
            budget = LabelFlip.budget
            craft = LabelFlip.craft


def test_a_defence_without_assumptions_is_refused_when_it_is_defined() -> None:
    with pytest.raises(TypeError, match=r"^defence Silent has no assumptions: expected assumptions = \.\.\., .*FILTER"):

        class Silent(Defense):
            def label_for(self, recipe: AnyRecipe) -> str:
                return "silent"


@pytest.mark.parametrize("value", ["white-box", FILTER, ThreatModel])
def test_what_is_no_threat_model_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^attack Odd: threat="):
        type("Odd", (LabelFlip,), {"threat": value})


@pytest.mark.parametrize("value", ["none", BLACK_BOX, Assumptions])
def test_what_are_no_assumptions_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^defence Odd: assumptions="):
        type("Odd", (GradientShaping,), {"assumptions": value})


def test_a_label_that_is_no_property_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^attack Odd: label is a method: expected a property, so write @property"):
        type("Odd", (LabelFlip,), {"label": lambda self: "odd"})


def test_an_abstract_class_may_leave_it_to_others() -> None:
    class Half(Attack):
        @abstractmethod
        def more(self) -> int: ...

    class Whole(Half):
        threat = BLACK_BOX
        label = "whole"
        budget = LabelFlip.budget
        craft = LabelFlip.craft

        def more(self) -> int:
            return 1

    assert Whole().threat is BLACK_BOX


def test_a_field_or_a_property_does_as_well() -> None:
    @dataclass(frozen=True)
    class ByField(LabelFlip):
        threat: ThreatModel = BLACK_BOX  # type: ignore[misc]

    class ByProperty(LabelFlip):
        @property
        def threat(self) -> ThreatModel:  # type: ignore[override]
            return replace(BLACK_BOX, source="mine")

    assert ByField(0.1).threat is BLACK_BOX
    assert ByProperty(0.1).threat.source == "mine"


@pytest.mark.parametrize("rows", [5.0, True, -1, None])
def test_a_budget_that_is_no_number_of_rows_is_named(rows: Any) -> None:
    @dataclass(frozen=True)
    class Odd(Attack):
        threat: ClassVar[ThreatModel] = BLACK_BOX
        label: ClassVar[str] = "odd"
        craft = LabelFlip.craft

        def budget(self, train_rows: int) -> int:
            return rows  # type: ignore[no-any-return]

    with pytest.raises(ValueError, match=f"^odd: budget {rows!r}: expected a whole number of rows"):
        Odd()(blobs(rows=20), seed=0)
