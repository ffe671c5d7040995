import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradshape_bench.records.strict_json import decode

LARGE = ["1e999", "-1e999", "1E400", "1.5e+309", "9" * 310 + ".0", "9" * 400, "1" + "0" * 300 + "e99"]


@pytest.mark.parametrize("number", LARGE, ids=[f"{number[:9]}_{len(number)}" for number in LARGE])
@pytest.mark.parametrize("around", ["{}", "[{}]", "[0, {}]", "[0,{}]", '{{"a":{}}}', '{{"a": {}}}', "[\n{}]", "[\t{}]"])
def test_numbers_that_are_too_large_are_found_wherever_they_stand(number: str, around: str) -> None:
    with pytest.raises(ValueError, match=r"too large for a number|has \d+ digits"):
        decode(around.format(number))


@pytest.mark.parametrize("number", ["1e99", "1e308", "-1e-999", "1e+00005", "0." + "3" * 400, "9" * 290, "123e2"])
def test_numbers_that_a_float_holds_are_read(number: str) -> None:
    (found,) = decode(f"[{number}]")
    assert found == json.loads(number)
    assert math.isfinite(found)


@pytest.mark.parametrize("text", ["1e999", "7e123ab", "e999", " 1e999", ",1e999"])
def test_what_looks_like_a_number_inside_a_text_is_text(text: str) -> None:
    assert decode(json.dumps({"digest": text})) == {"digest": text}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 1}', "it says 'a' twice"),
        ('[{"b": {"a": 1, "a": 2}}]', "it says 'a' twice"),
        ("[NaN]", "NaN is no JSON number"),
        ("[-Infinity]", "-Infinity is no JSON number"),
        (r'"\ud800"', "half of a surrogate pair"),
        (r'{"\uDFFF": 1}', "half of a surrogate pair"),
        ('"\ud800"', "half of a surrogate pair"),
        ("[" * 250 + "]" * 250, "more than 200 deep"),
        ("[" * 100_000, "no usable JSON"),
        ("", "Expecting value"),
        ("[1] 2", "Extra data"),
    ],
)
def test_what_others_take_in_several_ways_is_an_error(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        decode(text)


def test_whole_surrogate_pairs_and_other_characters_are_read() -> None:
    assert decode(r'"\ud83d\ude00 \u00e9"') == "\U0001f600 \xe9"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(value=JSON)
def test_what_was_written_is_read(value: Any) -> None:
    assert decode(json.dumps(value)) == value
