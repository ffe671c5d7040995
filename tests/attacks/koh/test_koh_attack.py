"""What the attacks of Koh, Steinhardt and Liang have in common."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch

from gradshape.attacks import Crafting, KohInfluence, KohKkt, KohMinMax
from gradshape.attacks.koh._koh_attack import in_inverse_balance
from gradshape.attacks.koh._regularised_hinge import AddedRows, RegularisedHinge
from gradshape.constraints import FeasibleSets
from gradshape.data import Dataset, Split
from gradshape.learners.hinge import signed_rows
from tests.training.samples import blobs

Koh = KohInfluence | KohKkt | KohMinMax

PAIR = blobs(rows=120, classes=2, spread=0.3, shape=(2, 3))
ATTACKS: list[Koh] = [
    KohInfluence(0.1, steps=20),
    KohKkt(0.1, quantiles=(0.1, 0.3), repeats=(2,)),
    KohMinMax(0.1, quantiles=(0.1, 0.3), repeats=(2,)),
]
each_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.family)


@each_attack
def test_all_rows_are_in_sphere_slab_and_box_of_their_class(attack: Koh) -> None:
    poison = attack(PAIR, seed=0)
    sets = FeasibleSets.from_rows(PAIR.train.x.flatten(1), PAIR.train.y, quantile=0.9, boxed=True)
    assert sets.contains(poison.x.flatten(1), poison.y).all()
    assert poison.notes["share_feasible"] == 1


@each_attack
def test_the_attackers_learner_errs_more_than_without_poison(attack: Koh) -> None:
    poison = attack(PAIR, seed=0)
    learner = RegularisedHinge(signed_rows(PAIR.train.x.flatten(1), PAIR.train.y), decay=0.01)
    added = AddedRows(signed_rows(poison.x.flatten(1), poison.y), torch.full((12,), 1 / 120).double())
    error = learner.error(learner.fit(added))
    assert error > learner.error(learner.fit())
    assert poison.notes["surrogate_error"] == pytest.approx(error, abs=0.01)


@each_attack
def test_the_test_rows_are_never_looked_at(attack: Koh) -> None:
    blind = Dataset("blind", PAIR.train, Split(torch.zeros_like(PAIR.test.x), 1 - PAIR.test.y), num_classes=2)
    assert attack(blind, seed=3).fingerprint == attack(PAIR, seed=3).fingerprint


@each_attack
def test_what_is_told_only_grows_unless_it_is_of_a_game(attack: Koh) -> None:
    told: list[Crafting] = []
    attack(PAIR, seed=0, progress=told.append)
    assert told
    if not isinstance(attack, KohMinMax):
        assert [one.objective for one in told] == sorted(one.objective for one in told)


@each_attack
def test_without_a_budget_nothing_is_crafted(attack: Koh) -> None:
    assert len(replace(attack, fraction=0)(PAIR, seed=0)) == 0


@each_attack
def test_a_budget_of_one_row_is_kept(attack: Koh) -> None:
    assert len(replace(attack, fraction=0.01)(PAIR, seed=0)) == 1


@each_attack
def test_data_of_one_class_is_refused(attack: Koh) -> None:
    split = Split(PAIR.train.x, torch.zeros_like(PAIR.train.y))
    with pytest.raises(ValueError, match="all training rows are of one class"):
        attack(Dataset("one", split, split, num_classes=2), seed=0)


@each_attack
def test_more_than_two_classes_are_refused(attack: Koh) -> None:
    with pytest.raises(ValueError, match="this one has 3 classes"):
        attack(blobs(), seed=0)


@each_attack
def test_the_label_says_the_percentage(attack: Koh) -> None:
    assert replace(attack, fraction=0.03).label == f"{attack.family}_3"


@each_attack
@pytest.mark.parametrize(
    "change",
    [{"fraction": -1.0}, {"quantile": 0.0}, {"decay": 0.0}, {"temperature": 0.0}],
    ids=lambda change: next(iter(change)),
)
def test_what_is_out_of_range_is_named(attack: Koh, change: Mapping[str, float]) -> None:
    [(name, value)] = change.items()
    with pytest.raises(ValueError, match=f"{name}={value}"):
        replace(attack, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("attack", ATTACKS[1:], ids=lambda attack: attack.family)
def test_decoys_that_cannot_be_are_named(attack: KohKkt | KohMinMax) -> None:
    with pytest.raises(ValueError, match="at least one of each"):
        replace(attack, quantiles=())
    with pytest.raises(ValueError, match=r"quantiles=1\.5"):
        replace(attack, quantiles=(1.5,))
    with pytest.raises(ValueError, match="repeats=0"):
        replace(attack, repeats=(0,))


@pytest.mark.parametrize(("negatives", "expected"), [(3, [2, 6]), (2, [4, 4]), (1, [6, 2])])
def test_the_rarer_class_gets_more_copies(negatives: int, expected: list[int]) -> None:
    y = (torch.arange(4) >= negatives).long()
    assert in_inverse_balance(y, 8).tolist() == expected
