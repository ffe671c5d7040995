import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradshape_bench.report import markdown


@given(st.text())
def test_escaped_text_keeps_its_characters(text: str) -> None:
    assert re.sub(r"\\(.)", r"\1", markdown.escape(text)) == markdown.one_line(text)


@pytest.mark.parametrize("text", ["", "a", "`", "a`b``c", "``", " "])
def test_code_span_is_longer_than_what_it_holds(text: str) -> None:
    fence, held = re.fullmatch(r"(`+)(?!`)(.*)(?<!`)\1", markdown.code(text)).groups()  # type: ignore[union-attr]
    assert fence not in re.findall("`+", held)
    assert held.strip() == text.strip()
