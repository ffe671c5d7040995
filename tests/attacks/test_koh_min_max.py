"""Rows played against a learner, capped by the loss of a decoy."""

import pytest
import torch

from gradshape.attacks import KohMinMax
from gradshape.attacks.koh_min_max import play_capped
from gradshape.attacks.two_points import Surrogate
from gradshape.learners.decayed import signed
from gradshape.learners.decoys import find_decoys
from tests.training.samples import blobs

PAIR = blobs(rows=120, classes=2, spread=0.3, shape=(2, 3))


def _own() -> Surrogate:
    return Surrogate.of(PAIR.train, quantile=0.9, decay=0.01, temperature=1e-3)


@pytest.mark.parametrize("cap", [0.25, 0.6])
def test_rows_are_in_their_sets_and_decoys_lose_little_on_them(cap: float) -> None:
    own = _own()
    thetas = torch.stack([one.theta for one in find_decoys(own.learner, quantiles=(0.02, 0.05), repeats=(1,))])
    x, y = play_capped(own, thetas, eps=0.1, cap=cap, eta=0.03, steps=12)
    assert x.shape == (len(thetas), 12, 6)
    for rows, labels, theta in zip(x, y, thetas, strict=True):
        assert own.sets.contains(rows, labels).all()
        assert float((1 - signed(rows, labels) @ theta).max()) <= cap + 1e-6


def test_the_learner_lowers_the_loss_on_what_is_played() -> None:
    own = _own()
    theta = find_decoys(own.learner, quantiles=(0.05,), repeats=(1,))[0].theta[None]
    told: list[float] = []
    play_capped(own, theta, eps=0.5, cap=1.0, eta=0.3, steps=20, report=lambda step, steps, loss: told.append(loss))
    assert told[-1] < told[0]


@pytest.mark.parametrize(("fraction", "distinct"), [(0.1, 6), (0.09, 6), (0.01, 1)])
def test_every_row_is_added_twice_but_the_last_of_an_odd_budget(fraction: float, distinct: int) -> None:
    poison = KohMinMax(fraction, quantiles=(0.1,), repeats=(2,))(PAIR, seed=0)
    copies = poison.x.flatten(1).unique(dim=0, return_counts=True)[1]
    assert len(copies) <= distinct
    assert int((copies % 2).sum()) == len(poison) % 2


@pytest.mark.parametrize(("name", "value"), [("cap", -0.1), ("eta", 0.0)])
def test_what_is_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}={value}"):
        KohMinMax(0.03, **{name: value})  # type: ignore[arg-type]
