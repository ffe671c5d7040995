"""Rows played against a learner, capped by the loss of a decoy."""

from itertools import islice

import pytest
import torch

from gradshape.attacks import KohMinMax
from gradshape.attacks.base import Crafting
from gradshape.attacks.koh._decoys import find_decoys
from gradshape.attacks.koh._koh_attack import Surrogate
from gradshape.attacks.koh.min_max import most_harmful_game, play_capped
from gradshape.learners.hinge import signed_rows
from tests.training.samples import blobs

PAIR = blobs(rows=120, classes=2, spread=0.3, shape=(2, 3))


def _own() -> Surrogate:
    return Surrogate.fitted_to(PAIR.train, quantile=0.9, decay=0.01, temperature=1e-3)


@pytest.mark.parametrize("cap", [0.25, 0.6])
def test_rows_are_in_their_sets_and_decoys_lose_little_on_them(cap: float) -> None:
    own = _own()
    thetas = torch.stack([one.theta for one in find_decoys(own.learner, quantiles=(0.02, 0.05), repeats=(1,))])
    for x, y in islice(play_capped(own, thetas, eps=0.1, cap=cap, eta=0.03), 12):
        assert x.shape == (len(thetas), 6)
        assert own.sets.contains(x, y).all()
        assert float((1 - (signed_rows(x, y) * thetas).sum(1)).max()) <= cap + 1e-6


def test_rows_that_are_played_cost_the_learner_more_than_rows_drawn_from_their_sets() -> None:
    own = _own()
    theta = find_decoys(own.learner, quantiles=(0.05,), repeats=(1,))[0].theta[None]
    start = own.learner.fit()
    found = most_harmful_game(
        own, list(islice(play_capped(own, theta, eps=0.5, cap=1.0, eta=0.3), 20)), 60, start=start
    )
    assert found.copies.tolist() == [3] * 20
    noise = torch.rand(found.x.shape, generator=torch.Generator().manual_seed(0)).double()
    drawn = own.sets.project(noise, found.y)
    assert found.harm[1] > own.harm(drawn, found.y, found.copies, start=start)[1]


def test_two_looks_without_gain_end_the_game(monkeypatch: pytest.MonkeyPatch) -> None:
    harms = iter([(0.3, 0.0), (0.2, 0.0), (0.3, 0.0)])
    monkeypatch.setattr(Surrogate, "harm", lambda self, x, y, copies, *, start: next(harms))
    told: list[Crafting] = []
    poison = KohMinMax(0.4, quantiles=(0.1,), repeats=(2,))(PAIR, seed=0, progress=told.append)
    # Looks are after an eighth, a quarter and a half of 48 rounds; half of the first 6 are thrown away.
    assert [(crafting.step, crafting.objective) for crafting in told if crafting.step in (6, 12, 24)] == [
        (6, 0.3),
        (12, 0.3),
        (24, 0.3),
    ]
    assert (told[-1].step, told[-1].steps) == (24, 48)
    assert poison.notes["surrogate_error"] == 0.3
    assert len(poison.x.flatten(1).unique(dim=0)) <= 3


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
