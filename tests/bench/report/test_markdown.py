import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tabulate import tabulate

from gradshape_bench.report import markdown


@given(st.text())
def test_escaped_text_keeps_its_characters(text: str) -> None:
    assert re.sub(r"\\(.)", r"\1", markdown.escape(text)) == markdown.one_line(text)


@pytest.mark.parametrize("text", ["", "a", "`", "a`b``c", "``", " "])
def test_code_span_is_longer_than_what_it_holds(text: str) -> None:
    fence, held = re.fullmatch(r"(`+)(?!`)(.*)(?<!`)\1", markdown.code(text)).groups()  # type: ignore[union-attr]
    assert fence not in re.findall("`+", held)
    assert held.strip() == text.strip()


TEXT = st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="|"), max_size=9)


@given(st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(TEXT, min_size=width, max_size=width), min_size=2)))
def test_tables_have_the_layout_of_tabulate(rows: list[list[str]]) -> None:
    headers, *body = rows
    assert markdown.table(body, headers) == tabulate(body, headers, tablefmt="github", disable_numparse=True)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1), st.integers(40, 400))
def test_pieces_of_a_table_hold_all_of_its_rows_and_are_small(rows: list[tuple[str, str]], largest: int) -> None:
    found = markdown.pieces(markdown.table(rows, ["one", "other"]), largest)
    body = [line for piece in found for line in piece.splitlines()[2:]]
    assert [tuple(cell.strip() for cell in line[1:-1].split(" | ")) for line in body] == rows
    assert {tuple(piece.splitlines()[:2]) for piece in found} == {tuple(found[0].splitlines()[:2])}
    assert all(len(piece.encode()) <= max(largest, 120) for piece in found)


@given(st.text())
def test_no_line_of_a_paragraph_begins_a_list_or_underlines_a_heading(text: str) -> None:
    lines = markdown.paragraph(markdown.escape(text)).splitlines()
    assert not any(re.match(r"[-+=]+(\s|$)|1[.)]\s", line) for line in lines)
