"""What ``-m`` asks of cases in vain."""

import pytest

from gradshape_bench.mark_expressions import LABELS, check_keywords, unmatched
from tests.bench.test_matrix import MATRIX

CASES = [case.labels for case in MATRIX.cases(next(iter(MATRIX.scales)), [0])]


def test_the_known_labels_are_those_of_cases() -> None:
    assert set(LABELS) == set(CASES[0])


@pytest.mark.parametrize(
    "expression",
    ["", "speed", "not speed", "case(dataset='digits')", "case(attack=\"a\") or case(model='lr') and not x"],
)
def test_known_labels_pass(expression: str) -> None:
    check_keywords(expression)


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("case(data='digits')", "unknown label of cases 'data': did you mean 'dataset'"),
        ("speed or not (case(dataset='digits', defence='vanilla'))", "'defence': did you mean 'defense'"),
        ("case(dataset='a(b)', Attack='x')", "'Attack': did you mean 'attack'"),
        ("case(x=1)", "unknown label of cases 'x': known: attack"),
    ],
)
def test_an_unknown_label_is_an_error(expression: str, told: str) -> None:
    with pytest.raises(ValueError, match=r"^unknown label of cases") as error:
        check_keywords(expression)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("case(dataset='digits') and case(defense='vanilla')", []),
        ("case(dataset='digit')", ["no collected case has dataset='digit': did you mean 'digits'?"]),
        ('not case(attack="xyzxyz")', ["no collected case has attack='xyzxyz'"]),
        ("case(model='LR') or case(model='LR')", ["no collected case has model='LR': did you mean 'lr'?"]),
        ("speed", []),
        ("case(dataset=10)", ["no collected case has dataset=10"]),
        ("case(model=-1, defense=None)", ["no collected case has model=-1", "no collected case has defense=None"]),
        (
            "case(attack=True) or case(attack='')",
            ["no collected case has attack=True", "no collected case has attack=''"],
        ),
    ],
)
def test_a_value_that_no_case_has_is_named_once(expression: str, told: list[str]) -> None:
    assert unmatched(expression, CASES) == told


def test_a_number_is_no_text_that_looks_like_it() -> None:
    cases = [{"attack": "10"}, {"attack": "it's"}]
    assert unmatched("case(attack=10)", cases) == ["no collected case has attack=10: did you mean '10'?"]
    assert unmatched("case(attack='10') or case(attack=\"it's\")", cases) == []
