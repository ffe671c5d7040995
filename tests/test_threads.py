"""Threads have equally much to do."""

import pytest
import torch

from gradshape._threads import even_share


@pytest.mark.parametrize(
    ("most", "threads", "expected"), [(10, 2, 10), (10, 4, 8), (3, 4, 3), (4, 4, 4), (7, 1, 7), (0, 2, 1)]
)
def test_a_share_is_the_most_that_divides_evenly(
    most: int, threads: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert even_share(most) == expected
