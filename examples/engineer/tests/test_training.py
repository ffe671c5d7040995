"""Every way to train learns, and the filter finds labels that nothing around them has."""

from collections.abc import Callable

import pytest
import torch
from pumps.readings import draw
from pumps.training import Scores, brief, clipped, filtered, without_odd_labels

from gradshape.data import Split


@pytest.mark.parametrize("train", [clipped, filtered, brief])
def test_most_failures_are_foreseen(train: Callable[[Split, int], Scores]) -> None:
    (x, y), (new, failed) = draw(300, seed=0), draw(600, seed=1)
    model = train(Split(torch.from_numpy(x), torch.from_numpy(y)), 0)
    found = model(torch.from_numpy(new)).argmax(1)
    assert (found == torch.from_numpy(failed)).double().mean() > 0.85


def test_a_wrong_label_among_right_ones_is_left_out() -> None:
    x = torch.cat([torch.zeros(20, 8), torch.ones(20, 8)]) + 0.01 * torch.arange(40)[:, None]
    y = (torch.arange(40) >= 20).long()
    y[3] = 1
    kept, _ = without_odd_labels(x, y)
    assert torch.equal(kept, torch.cat([x[:3], x[4:]]))
