"""Which cases a shard of a run has."""

import random
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradshape.attacks import LabelFlip
from gradshape.defenses import Defense, GradientShaping, NoDefense
from gradshape.shaping import Clip
from gradshape.training import Adam, Recipe
from gradshape_bench.case import Case, Scale, Smoke, Task
from gradshape_bench.shard import Shard

TASKS = [
    Task(dataset, Recipe(model, Adam(0.01), batch_size=32, epochs=2), Smoke(train_rows=rows))
    for dataset, model, rows in product(("digits", "two_moons"), ("lr", "mlp"), (None, 100))
]
DEFENSES: list[Defense] = [NoDefense(), GradientShaping(Clip(1.0))]
CASES = [
    Case(task, LabelFlip(fraction), defense, scale=scale, seeds=(0,))
    for task, fraction, defense, scale in product(TASKS[::2], (0.1, 0.2, 0.3), DEFENSES, Scale)
]
KEYS = {(case.scale.value, case.id) for case in CASES}


@given(st.integers(1, 60), st.integers(0, len(CASES)), st.randoms(use_true_random=False))
def test_every_case_is_in_exactly_one_shard_and_shards_are_of_one_size(
    count: int, selected: int, shuffler: random.Random
) -> None:
    cases = shuffler.sample(CASES, selected)
    parts = [Shard(index, count).cases(cases) for index in range(1, count + 1)]
    assert sorted(key for part in parts for key in part) == sorted((case.scale.value, case.id) for case in cases)
    sizes = {len(part) for part in parts}
    assert max(sizes) - min(sizes) <= 1


def test_a_shard_does_not_depend_on_the_order_of_collection() -> None:
    shuffled = random.Random(0).sample(CASES, len(CASES))
    for index in range(1, 6):
        assert Shard(index, 5).cases(CASES) == Shard(index, 5).cases(shuffled)


def test_a_case_that_two_tests_have_is_in_one_shard() -> None:
    parts = [Shard(index, 7).cases([*CASES, *CASES]) for index in range(1, 8)]
    assert sum(map(len, parts)) == len(KEYS)


def test_what_shares_data_stays_together() -> None:
    # Two data sets at two scales, of the same number of cases each: every shard of four needs one of them only.
    for index in range(1, 5):
        mine = Shard(index, 4).cases(CASES)
        assert len({(case.scale, case.rows) for case in CASES if (case.scale.value, case.id) in mine}) == 1


def test_what_shares_poison_stays_together() -> None:
    count = len(CASES) // len(DEFENSES)
    for index in range(1, count + 1):
        mine = Shard(index, count).cases(CASES)
        assert len({case.attack for case in CASES if (case.scale.value, case.id) in mine}) == 1


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b", "1/ 2", "٣/٤", "1/9999999"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected"):
        Shard.parse(text)


def test_a_part_is_written_as_it_is_read() -> None:
    assert str(Shard.parse("12/345")) == "12/345"
