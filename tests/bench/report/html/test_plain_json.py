import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradshape_bench.report.html.plain_json import inside_page, text

_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # Half of a surrogate pair, too, since texts in memory may hold one.
    | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(_VALUES)
def test_means_what_was_given(value: Any) -> None:
    assert json.dumps(json.loads(text(value))) == json.dumps(value)


@given(_VALUES)
def test_says_the_same_inside_a_page_and_holds_no_markup(value: Any) -> None:
    said = inside_page(text(value))
    assert json.dumps(json.loads(said)) == json.dumps(value)
    assert not set(said) & set("<>&")
    assert said.isascii()


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**200])
def test_integers_that_browsers_would_round_are_spelled(number: int) -> None:
    assert json.loads(text([number])) == [{"$integer": str(number)}]


def test_values_that_json_has_not_are_refused() -> None:
    with pytest.raises(ValueError, match="set"):
        text({"details": {1, 2}})
