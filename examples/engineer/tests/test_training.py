"""The model learns, and the filter finds labels that nothing around them has."""

import torch
from pumps.readings import draw
from pumps.training import agrees_with_neighbors, train

from gradshape.data import Split


def test_most_failures_are_foreseen() -> None:
    (x, y), (new, failed) = draw(300, seed=0), draw(600, seed=1)
    model = train(Split(torch.from_numpy(x), torch.from_numpy(y)), 0)
    found = model(torch.from_numpy(new)).argmax(1)
    assert (found == torch.from_numpy(failed)).double().mean() > 0.85


def test_a_wrong_label_among_right_ones_is_left_out() -> None:
    x = torch.cat([torch.zeros(20, 8), torch.ones(20, 8)]) + 0.01 * torch.arange(40)[:, None]
    y = (torch.arange(40) >= 20).long()
    y[3] = 1
    assert agrees_with_neighbors(x, y).nonzero().squeeze(1).tolist() == [row for row in range(40) if row != 3]
