import math
from collections.abc import Callable
from enum import Enum

import pytest

from gradshape import _validate

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (_validate.positive, [1, 1e-300, 5.5], [0, -1, INF, -INF, NAN]),
        (_validate.non_negative, [0, 1, 1e-300, INF], [-1, -1e-300, -INF, NAN]),
        (_validate.finite_non_negative, [0, 1, 1e300], [-1, INF, -INF, NAN]),
        (_validate.fraction, [0, 0.5, 1], [-0.1, 1.1, INF, -INF, NAN]),
        (_validate.above_zero, [1e-300, 1, INF], [0, -1, -INF, NAN]),
        (_validate.positive_fraction, [1e-300, 0.5, 1], [0, -0.1, 1.1, INF, NAN]),
        (_validate.fraction_below_one, [0, 0.5], [-0.1, 1, INF, NAN]),
        (_validate.open_fraction, [1e-300, 0.5], [0, -0.1, 1, INF, NAN]),
        (_validate.positive_int, [1, 10**20], [0, -1, 1.0, True, False, NAN]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_is_out_of_range_is_named_with_its_value(
    check: Callable[..., None], good: list[float], bad: list[float]
) -> None:
    for value in good:
        check(rate=value)
    for value in bad:
        with pytest.raises(ValueError, match=r"^rate=") as error:
            check(rate=value)
        assert str(error.value).startswith(f"rate={value!r}: expected ")


def test_the_wrong_one_of_several_is_named() -> None:
    with pytest.raises(ValueError, match=r"^second=-1: "):
        _validate.positive(first=1, second=-1, third=-2)


def test_an_unknown_name_comes_with_the_nearest_and_all_known_ones() -> None:
    error = _validate.unknown("data set", "digit", ["purchase100", "digits", "cifar10"])
    assert str(error) == "unknown data set 'digit': did you mean 'digits'? known: cifar10, digits, purchase100"


def test_a_name_like_no_other_comes_with_the_known_ones_only() -> None:
    assert str(_validate.unknown("model", "xyz", ["mlp", "cnn"])) == "unknown model 'xyz': known: cnn, mlp"


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


def test_what_is_no_member_of_a_choice_is_named() -> None:
    _validate.member(Size, size=Size.LARGE)
    with pytest.raises(ValueError, match=r"^size='large': expected one of Size.SMALL, Size.LARGE$"):
        _validate.member(Size, size="large")
