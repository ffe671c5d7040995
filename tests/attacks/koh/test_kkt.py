"""Two rows that make a decoy optimal."""

import pytest
import torch

from gradshape.attacks import KohKkt
from gradshape.attacks.koh._decoys import Decoy, find_decoys
from gradshape.attacks.koh._koh_attack import Surrogate
from gradshape.attacks.koh.kkt import Pair, balanced_pairs, most_harmful_pair
from tests.training.samples import blobs

CLASSES = torch.tensor([0, 1])
PAIR = blobs(rows=120, classes=2, spread=0.3, shape=(2, 3))


def _pairs() -> tuple[Surrogate, list[Decoy], list[Pair]]:
    own = Surrogate.fitted_to(PAIR.train, quantile=0.9, decay=0.01, temperature=1e-3)
    decoys = find_decoys(own.learner, quantiles=(0.02, 0.05), repeats=(1,))
    return own, decoys, balanced_pairs(own, decoys, 12, loss_quantile=0.9, divisions=3)


def test_every_division_of_the_budget_is_tried_for_every_decoy() -> None:
    _, decoys, pairs = _pairs()
    assert all(int(pair.copies.sum()) == 12 for pair in pairs)
    positive = [int(pair.copies[1]) for pair in pairs]
    assert all(positive.count(copies) >= len(decoys) for copies in (0, 4, 8, 12))


def test_the_objective_is_what_a_pair_leaves_of_the_gradient_at_its_decoy() -> None:
    own, decoys, pairs = _pairs()
    decoy, eps = decoys[0], 12 / 120
    gradient = (own.learner.loss_gradient(decoy.theta) + own.learner.decay_weights(eps) * decoy.theta)[:-1]
    for pair in pairs[: len(pairs) // len(decoys)]:
        mass = pair.copies.double() / 120
        left = gradient + mass[0] * pair.x[0] - mass[1] * pair.x[1]
        assert pair.objective == pytest.approx(float(left.norm()), abs=1e-9)
        assert own.sets.contains(pair.x, CLASSES).all()


def test_the_pair_of_the_largest_error_is_taken_and_the_largest_so_far_is_told() -> None:
    own, _, pairs = _pairs()
    told: list[float] = []
    best, error = most_harmful_pair(own, pairs, report=lambda step, steps, largest: told.append(largest))
    assert told == sorted(told)
    assert len(told) == len(pairs)
    errors = [own.learner.error(own.learner.fit(own.added(pair.x, CLASSES, pair.copies))) for pair in pairs]
    assert error == told[-1] == pytest.approx(max(errors))
    assert any(best is pair for pair in pairs)


def test_at_most_two_distinct_rows_are_repeated() -> None:
    assert len(KohKkt(0.1, quantiles=(0.1,), repeats=(2,))(PAIR, seed=0).x.flatten(1).unique(dim=0)) <= 2


@pytest.mark.parametrize(("name", "value"), [("loss_quantile", 1.5), ("divisions", 0)])
def test_what_is_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}={value}"):
        KohKkt(0.03, **{name: value})  # type: ignore[arg-type]
