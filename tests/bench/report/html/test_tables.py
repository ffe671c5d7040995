import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradshape_bench.report.html.tables import LEFT_OUT, pack
from tests.bench.report.html.reader import unpack
from tests.bench.report.html.sample import many, run

_TEXTS = st.sampled_from(["", "a", "b", "__proto__", "</script>", "0"])
_PLAIN = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS
_VALUES = st.recursive(
    _PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3), max_leaves=6
)


@given(st.lists(st.dictionaries(_TEXTS, _VALUES, max_size=4), max_size=5))
def test_documents_come_back_as_they_were(documents: list[dict[str, Any]]) -> None:
    # As texts, since Python takes 1, 1.0 and True for equal.
    found = unpack(pack(documents), len(documents))
    assert json.dumps(found, sort_keys=True) == json.dumps(documents, sort_keys=True)


def test_records_come_back_as_they_were() -> None:
    documents = [record.document() for record in run()]
    assert unpack(pack(documents), len(documents)) == json.loads(json.dumps(documents))


def test_takes_a_fraction_of_the_text_of_alike_records() -> None:
    documents = [record.document() for record in many(200)]
    assert len(pack(documents)) < 0.35 * len(json.dumps(documents, separators=(",", ":")))


def test_long_values_stay_out_and_say_so() -> None:
    packed = pack([{"details": {"picture": [0.125] * 9000, "rows": 3}}])
    assert len(packed) < 300
    assert unpack(packed, 1) == [{"details": {"picture": {LEFT_OUT: "54,001 characters"}, "rows": 3}}]


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="nan is no JSON number"):
        pack([{"metrics": {"rad": {"value": float("nan")}}}])
