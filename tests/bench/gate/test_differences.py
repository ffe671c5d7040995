import math

import numpy as np
import pytest
from scipy import stats

from gradshape_bench.gate.differences import (
    Difference,
    paired_seeds,
    paired_trials,
    unpaired_rates,
    unpaired_seeds,
)

RNG = np.random.default_rng(0)


def several() -> list[Difference]:
    """Differences of every kind, clear ones and doubtful ones."""
    found: list[Difference] = []
    for shift in (0.0, 0.5, 2.0, -2.0):
        base, new = RNG.normal(size=4).tolist(), (RNG.normal(size=4) + shift).tolist()
        found += [paired_seeds(base, new, step=0.0), unpaired_seeds(base, new, step=0.0)]
        chance = 0.5 + shift / 5
        won = (RNG.random(20) < chance).astype(float).tolist()
        found += [paired_trials([0.0, 1.0] * 10, won), unpaired_rates(0.5, sum(won) / 20, trials=(20, 20))]
    return found


def test_pairs_of_seeds_have_students_interval() -> None:
    base, new = [0.1, 0.2, 0.15, 0.12], [0.2, 0.22, 0.3, 0.25]
    expected = stats.ttest_rel(new, base).confidence_interval(0.9)
    assert paired_seeds(base, new, step=0.0).interval(0.9) == pytest.approx((expected.low, expected.high))


def test_other_seeds_have_welchs_interval() -> None:
    base, new = [0.1, 0.2, 0.15, 0.12], [0.2, 0.22, 0.5]
    expected = stats.ttest_ind(new, base, equal_var=False).confidence_interval(0.9)
    assert unpaired_seeds(base, new, step=0.0).interval(0.9) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(
    ("won", "interval"),
    # Newcombe 1998, table II, cases (a), (b) and (e).
    [
        (((56, 70), (48, 80)), (0.0524, 0.3339)),
        (((9, 10), (3, 10)), (0.1705, 0.8090)),
        (((5, 56), (0, 29)), (-0.0381, 0.1926)),
    ],
)
def test_rates_have_newcombes_interval(
    won: tuple[tuple[int, int], tuple[int, int]], interval: tuple[float, float]
) -> None:
    (more, n), (fewer, m) = won
    assert unpaired_rates(fewer / m, more / n, trials=(m, n)).interval(0.95) == pytest.approx(interval, abs=5e-5)


@pytest.mark.parametrize(
    "difference", several(), ids=lambda difference: f"{difference.basis.value} {difference.effect:.2f}"
)
def test_chance_is_small_exactly_if_the_interval_excludes_zero(difference: Difference) -> None:
    for error in (0.3, 0.1, 0.01, 1e-4):
        ends = difference.interval(1 - error)
        assert ends is not None
        if difference.chance not in (pytest.approx(error, rel=1e-6), 1.0):
            assert (difference.chance <= error) == (ends[0] > 0 or ends[1] < 0)


@pytest.mark.parametrize(
    "difference", several(), ids=lambda difference: f"{difference.basis.value} {difference.effect:.2f}"
)
def test_chance_above_a_bound_is_that_of_the_interval_that_ends_there(difference: Difference) -> None:
    ends = difference.interval(0.9)
    assert ends is not None
    if abs(difference.effect) < 0.5:
        assert difference.chance_above(ends[0]) == pytest.approx(0.05, rel=1e-3)
        assert difference.chance_below(ends[1]) == pytest.approx(0.05, rel=1e-3)


def test_interval_is_turned_round_with_the_two_sides() -> None:
    base, new = [0.1, 0.2, 0.15], [0.2, 0.22, 0.5]
    for one, other in (
        (paired_seeds(base, new, step=0.01), paired_seeds(new, base, step=0.01)),
        (unpaired_seeds(base, new, step=0.01), unpaired_seeds(new, base, step=0.01)),
        (paired_trials([0, 1, 1, 1], [0, 0, 1, 0]), paired_trials([0, 0, 1, 0], [0, 1, 1, 1])),
        (unpaired_rates(0.2, 0.4, trials=(10, 20)), unpaired_rates(0.4, 0.2, trials=(20, 10))),
    ):
        (low, high), turned = one.interval(0.95) or (0, 0), other.interval(0.95)
        assert turned == pytest.approx((-high, -low))


def test_single_seed_has_no_interval_and_proves_nothing() -> None:
    for difference in (paired_seeds([0.1], [0.9], step=0.01), unpaired_seeds([0.1], [0.9], step=0.01)):
        assert (difference.interval(0.5), difference.chance) == (None, 1.0)


def test_seeds_that_agree_in_one_row_of_a_test_set_are_no_proof() -> None:
    one_row = paired_seeds([0.10, 0.12, 0.11], [0.11, 0.13, 0.12], step=0.01)
    low, high = one_row.interval(0.95) or (math.nan, math.nan)
    assert low < 0 < high


def test_many_rows_are_a_proof_although_the_seeds_agree() -> None:
    assert paired_seeds([0.1, 0.1, 0.1], [0.3, 0.3, 0.3], step=0.001).chance < 0.001


def test_few_targets_that_changed_alike_are_judged_by_the_sign_test() -> None:
    base, new = [0.0] * 20, [1.0] * 5 + [0.0] * 15
    assert paired_trials(base, new).chance == pytest.approx(stats.binomtest(5, 5).pvalue)


def test_targets_without_a_change_leave_room_for_one() -> None:
    low, high = paired_trials([1.0] * 24, [1.0] * 24).interval(0.95) or (0, 0)
    assert high == -low
    assert 1 / 24 < high < 0.1


def test_rates_of_ones_and_zeros_have_an_interval_within_the_possible() -> None:
    low, high = unpaired_rates(0.0, 1.0, trials=(5, 5)).interval(0.999) or (0, 0)
    assert 0 < low < high == 1.0
