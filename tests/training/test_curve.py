"""What is written down of logits."""

import pytest
import torch

from gradshape.training._curves import classes

INF, NAN = float("inf"), float("nan")
ROWS = {
    "the-largest": ([0.0, 2.0, 1.0], 1),
    "the-first-of-equal-ones": ([1.0, 3.0, 3.0], 1),
    "all-equal": ([0.0, 0.0, 0.0], 0),
    "very-large": ([3e38, 3.1e38, -3e38], 1),
    "nan": ([0.0, NAN, 1.0], -1),
    "infinite": ([0.0, INF, 1.0], -1),
    "minus-infinite": ([0.0, 1.0, -INF], -1),
    "both-infinite": ([INF, -INF, 0.0], -1),
}


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("dim", [-1, 1, 0])
@pytest.mark.parametrize("copies", [1, 40])
def test_a_class_is_the_first_of_the_largest_if_all_are_finite(row: str, dim: int, copies: int) -> None:
    logits, expected = ROWS[row]
    along_last = torch.tensor(logits).expand(2, copies, 3)
    found = classes(along_last.movedim(-1, dim).contiguous(), dim=dim)
    assert torch.equal(found, torch.full((2, copies), expected))
