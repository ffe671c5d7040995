import pytest

from gradshape.data import info, load


def test_first_class_becomes_0_and_second_1() -> None:
    whole, pair = load("digits"), load("digits_83")
    chosen = (whole.train.y == 8) | (whole.train.y == 3)
    assert pair.train.x.equal(whole.train.x[chosen])
    assert pair.train.y.equal((whole.train.y[chosen] == 3).long())
    assert pair.num_classes == 2


def test_description_says_which_class_is_which() -> None:
    assert info("digits_38").description.startswith("class 3 (0) against class 8 (1) of: ")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("digits_33", "class pair 'digits_33': expected two different classes"),
        ("two_moons_02", r"two_moons has no class 2, its classes are 0\.\.1"),
        ("digit_38", r"unknown data set 'digit_38': did you mean 'digits'\?"),
        ("digits_138", "unknown data set 'digits_138'"),
    ],
)
def test_bad_pair_is_refused(name: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        load(name)
