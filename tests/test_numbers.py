"""No attack, defence, shaper or optimizer takes for a number what is none, and each says which argument it was."""

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from gradshape.defenses import DeepKNN, SphereFilter, SphereSlabFilter, SVDFilter
from gradshape.shaping import QuantileClip
from gradshape.training import SGD, Adam
from tests.attacks.attacks import ATTACKS
from tests.defenses.test_contract import DEFENSES
from tests.shaping.parts import PARTS

PARTS_AND_OTHERS = [*ATTACKS, *DEFENSES, *PARTS, SGD(0.1), Adam(0.1)]
NO_NUMBERS = [math.nan, "0.4", True, [0.4]]


def numbers(of: object) -> Iterator[tuple[Any, str]]:
    """The fields that hold a number which need not be whole, one of each class."""
    for field in fields(of):  # type: ignore[arg-type]
        if field.init and isinstance(getattr(of, field.name), float):
            yield of, field.name


FIELDS = {
    f"{type(of).__name__}.{name}": (of, name)
    for each in PARTS_AND_OTHERS
    if is_dataclass(each)
    for of, name in numbers(each)
}
FRACTIONS = {
    name: field for name, field in FIELDS.items() if name.endswith((".fraction", ".quantile", ".removed", ".budget"))
}


@pytest.mark.parametrize("value", NO_NUMBERS, ids=str)
@pytest.mark.parametrize(("of", "name"), FIELDS.values(), ids=FIELDS)
def test_what_is_no_number_is_named(of: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name}=") as error:
        replace(of, **{name: value})
    assert f"{name}={value!r}: expected " in str(error.value)


@pytest.mark.parametrize(("of", "name"), FRACTIONS.values(), ids=FRACTIONS)
def test_percent_in_the_place_of_a_share_is_asked_back(of: Any, name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name}=40: expected .*; did you mean 0.4, which is 40 %\?$"):
        replace(of, **{name: 40})
    with pytest.raises(ValueError, match=rf"^{name}=-0.1: expected [^?]*$"):
        replace(of, **{name: -0.1})
    with pytest.raises(ValueError, match=rf"^{name}=1000: expected [^?]*$"):
        replace(of, **{name: 1000})


def test_the_fields_that_are_tried_are_there() -> None:
    known = {type(of) for of, _ in FRACTIONS.values()}
    assert {DeepKNN, SphereFilter, SphereSlabFilter, SVDFilter, QuantileClip} <= known
    assert len(FRACTIONS) >= 25
