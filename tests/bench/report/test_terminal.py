import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradshape_bench.report.terminal import aligned, columns, terminal_width, wrapped

TEXTS = st.text(st.sampled_from("ab é数\t-_"), max_size=120)


@given(TEXTS, st.integers(20, 60))
def test_wrapped_lines_fit(text: str, width: int) -> None:
    assert all(columns(line) <= width for line in wrapped(text, width))


@given(TEXTS, st.integers(20, 60))
def test_wrapping_loses_nothing(text: str, width: int) -> None:
    assert "".join("".join(wrapped(text, width)).split()) == "".join(text.split())


def test_words_stay_whole_where_they_fit() -> None:
    assert wrapped("one two three four", 10) == ["one two", "  three", "  four"]


def test_columns_of_wide_characters_stand_below_each_other() -> None:
    lines = aligned([["数据", "1"], ["abc", "22"]], right=[1])
    assert lines == ["数据   1", "abc   22"]
    assert len({columns(line) for line in lines}) == 1


def test_width_is_that_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "57")
    assert terminal_width() == 57
