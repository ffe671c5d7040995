"""How certain an order is said to be."""

import numpy as np
import pytest

from gradshape.metrics import Estimate, mean_over_seeds, rate_over_trials
from gradshape_bench.report.board.rank_intervals import Certainty, TaskTable, certainty, order_of

SEEDS = tuple(range(5))


def table(*rows: list[float], budgets: tuple[int, ...] = (1,)) -> TaskTable:
    """A table of one attack: for each defence the values of the seeds."""
    return TaskTable([[mean_over_seeds(row)] for row in rows], [[SEEDS[: len(row)]] for row in rows], budgets)


def known(*tables: TaskTable) -> Certainty:
    found = certainty(tables)
    assert found is not None
    return found


def test_defences_that_differ_by_the_same_in_every_seed_are_separated() -> None:
    noisy = [0.1, 0.3, 0.2, 0.5, 0.4]
    found = known(table(noisy, [value + 0.01 for value in noisy]))
    assert found.paired
    assert found.apart(0, 1)
    assert not found.apart(1, 0)
    assert [found.ranks(place) for place in range(2)] == [(1, 1), (2, 2)]


def test_without_the_values_of_single_seeds_they_are_not() -> None:
    noisy = [0.1, 0.3, 0.2, 0.5, 0.4]
    rows = [mean_over_seeds(values) for values in (noisy, [value + 0.01 for value in noisy])]
    old = [[Estimate(e.value, e.low, e.high, n=e.n)] for e in rows]
    found = known(TaskTable(old, [[SEEDS]] * 2, [1]))
    assert not found.paired
    assert not found.apart(0, 1)
    assert [found.ranks(place) for place in range(2)] == [(1, 2), (1, 2)]


def test_equal_defences_share_their_ranks() -> None:
    found = known(table([0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]))
    assert [found.ranks(place) for place in range(3)] == [(1, 2), (1, 2), (3, 3)]
    assert not found.apart(0, 1)


def test_an_order_that_two_tasks_contradict_is_open() -> None:
    found = known(table([0.1, 0.11, 0.1], [0.5, 0.51, 0.5]), table([0.8, 0.81, 0.8], [0.5, 0.51, 0.5]))
    assert not found.apart(0, 1)
    assert not found.apart(1, 0)
    assert found.ranks(0) == (1, 2)


def test_a_single_seed_has_no_certainty() -> None:
    assert certainty([table([0.1], [0.2])]) is None


def test_rates_over_trials_are_no_seeds() -> None:
    rates = [[rate_over_trials([1.0, 0.0, 1.0])], [rate_over_trials([0.0, 0.0, 1.0])]]
    assert not known(TaskTable(rates, [[(0, 1, 2)], [(0, 1, 2)]], [1])).paired


def test_only_seeds_that_all_records_have_are_paired() -> None:
    rows = [[mean_over_seeds([0.1, 0.2, 0.3])], [mean_over_seeds([0.9, 0.4, 0.2])]]
    assert TaskTable(rows, [[(0, 1, 2)], [(5, 2, 1)]], [1]).paired_seeds == [1, 2]


def test_the_worst_attack_of_each_budget_counts() -> None:
    row = [[mean_over_seeds([value] * 2) for value in (0.1, 0.5, 0.2)]]
    assert TaskTable(row, [[(0, 1)] * 3], [10, 10, 20]).scores.tolist() == pytest.approx([0.35])


def test_the_draws_are_always_the_same() -> None:
    tables = [table([0.1, 0.2, 0.4], [0.3, 0.1, 0.2]), table([0.5, 0.2, 0.1], [0.3, 0.6, 0.2])]
    assert known(*tables).draws.tobytes() == known(*tables).draws.tobytes()


def test_intervals_of_single_means_are_those_of_student() -> None:
    values = [0.1, 0.3, 0.2]
    expected = mean_over_seeds(values)
    low, high = known(table(values)).score(0)
    assert expected.low is not None
    assert expected.high is not None
    assert high - low == pytest.approx(expected.high - expected.low, rel=0.25)


def test_defences_that_are_the_same_are_rarely_told_apart() -> None:
    generator = np.random.default_rng(1)
    told = 0
    for _ in range(200):
        rows = generator.normal(size=(2, 5)) + generator.normal(size=5)
        found = known(table(*rows.tolist()))
        told += found.apart(0, 1) or found.apart(1, 0)
    # Both sides of 95 %: at most 5 % each way at random, and Student's stretch keeps that with five seeds.
    assert told <= 20


def test_the_first_of_equals_comes_first() -> None:
    assert order_of([0.2, 0.1, 0.1 + 1e-15]) == [1, 2, 0]
