from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradshape_bench.plain_text import message_of, plain, sendable

TEXTS = st.text(st.characters(codec=None), max_size=50)


@given(TEXTS)
def test_plain_text_can_be_encoded_and_moves_no_cursor(text: str) -> None:
    shown = plain(text)
    assert shown.encode() or not text
    assert all(character.isprintable() or not character.isascii() or character in "\n\t" for character in shown)
    assert plain(shown) == shown


@given(TEXTS, st.integers(0, 60))
def test_long_text_is_cut_and_counted(text: str, longest: int) -> None:
    shown = plain(text, longest=longest)
    left_out = len(text) - longest
    assert shown.endswith(f"... ({left_out} characters left out)") or left_out <= 0


class Silent(Exception):
    def __str__(self) -> Any:
        return None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError(), "ValueError"),
        (KeyError("a"), "KeyError: 'a'"),
        (Silent(), "Silent: its message cannot be shown: TypeError"),
    ],
)
def test_every_error_says_something(error: Exception, message: str) -> None:
    assert message_of(error) == message


@given(st.recursive(TEXTS | st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)))
def test_what_can_be_encoded_is_sent_as_it_is(value: Any) -> None:
    sent = sendable(value)
    assert repr(sent).encode()
    assert sendable(sent) == sent
