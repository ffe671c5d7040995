import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gradshape.metrics import (
    Estimate,
    Method,
    mean_over_seeds,
    rate_over_trials,
    relative_accuracy_drop,
    share_over_seeds,
    success_rate,
    wilson_interval,
)

shares = st.floats(0, 1)


@pytest.mark.parametrize(
    ("reference", "accuracy", "drop"), [(0.954, 0.9435, 0.0110), (0.7165, 0.1804, 0.748), (0.5, 0.6, -0.2), (1, 0, 1)]
)
def test_the_drop_is_relative_to_the_reference(reference: float, accuracy: float, drop: float) -> None:
    assert relative_accuracy_drop(reference, accuracy) == pytest.approx(drop, abs=5e-4)


@given(reference=st.floats(1e-3, 1), accuracy=shares)
def test_the_drop_is_positive_exactly_where_accuracy_is_lost(reference: float, accuracy: float) -> None:
    drop = relative_accuracy_drop(reference, accuracy)
    assert (drop > 0) == (accuracy < reference)
    assert drop <= 1


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf])
def test_an_accuracy_outside_0_to_1_is_named(value: float) -> None:
    with pytest.raises(ValueError, match="accuracy="):
        relative_accuracy_drop(0.5, value)
    with pytest.raises(ValueError, match="reference="):
        relative_accuracy_drop(value, 0.5)


def test_there_is_no_drop_relative_to_0() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        relative_accuracy_drop(0, 0)


@given(values=st.lists(st.floats(-1, 1), min_size=2, max_size=8), confidence=st.sampled_from([0.5, 0.8, 0.95, 0.999]))
def test_the_interval_of_a_mean_is_students(values: list[float], confidence: float) -> None:
    got = mean_over_seeds(values, confidence=confidence)
    assert got.n == len(values)
    assert got.value == pytest.approx(np.mean(values), abs=1e-9)
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    if error == 0:
        expected = (got.value, got.value)
    else:
        expected = stats.t.interval(confidence, df=len(values) - 1, loc=np.mean(values), scale=error)
    assert (got.low, got.high) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_a_single_seed_has_no_interval() -> None:
    one = mean_over_seeds([0.3])
    assert (one.value, one.low, one.high, one.n) == (0.3, None, None, 1)


def test_equal_values_have_an_interval_of_no_width() -> None:
    equal = mean_over_seeds([0.25, 0.25, 0.25])
    assert (equal.value, equal.low, equal.high, equal.n) == (0.25, 0.25, 0.25, 3)


def test_the_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"values=\[\]"):
        mean_over_seeds([])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="expected finite numbers"):
        mean_over_seeds([0.1, value])


@pytest.mark.parametrize("confidence", [0, 1, -0.5, 95, math.nan])
def test_a_confidence_outside_0_to_1_is_named(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence="):
        mean_over_seeds([0.1, 0.2], confidence=confidence)
    with pytest.raises(ValueError, match="confidence="):
        success_rate(1, 2, confidence=confidence)


# Wilson's formula, (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n) with z = 1.959964.
@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(34, 73, 0.3559, 0.5790), (7, 78, 0.0442, 0.1738), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (1, 1, 0.2065, 1)],
)
def test_the_interval_of_a_rate_is_wilsons(successes: int, trials: int, low: float, high: float) -> None:
    got = success_rate(successes, trials)
    scipys = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    assert (got.low, got.high) == pytest.approx((scipys.low, scipys.high), abs=1e-12)
    assert got.value == successes / trials
    assert got.n == trials
    assert (got.low, got.high) == pytest.approx((low, high), abs=5.1e-5)


@given(trials=st.integers(1, 10_000), data=st.data())
def test_the_interval_of_a_rate_contains_it_and_stays_in_0_to_1(trials: int, data: st.DataObject) -> None:
    got = success_rate(data.draw(st.integers(0, trials)), trials)
    assert got.low is not None
    assert got.high is not None
    assert 0 <= got.low <= got.value <= got.high <= 1
    assert got.high - got.low > 0


@given(successes=st.integers(0, 50), trials=st.integers(50, 100))
def test_failures_have_the_mirrored_interval(successes: int, trials: int) -> None:
    one, other = success_rate(successes, trials), success_rate(trials - successes, trials)
    assert one.low is not None
    assert other.high is not None
    assert one.low == pytest.approx(1 - other.high, abs=1e-9)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (-1, 5), (6, 5), (0, -1)])
def test_counts_that_make_no_rate_are_named(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match=f"successes={successes}, trials={trials}"):
        success_rate(successes, trials)


def test_an_estimate_reads_well_and_has_no_negative_zero() -> None:
    assert str(Estimate(-1e-9, None, None, n=1)) == "0.0000 (n=1)"
    assert str(Estimate(0.5, 0.25, 0.75, n=4)) == "0.5000 [0.2500, 0.7500] (n=4)"


@given(values=st.lists(shares, min_size=2, max_size=8), rows=st.integers(1, 500))
def test_the_interval_of_a_share_stays_in_0_to_1_and_is_no_narrower_than_wilsons(
    values: list[float], rows: int
) -> None:
    alone, sampled = share_over_seeds(values), share_over_seeds(values, rows=rows)
    assert alone.low is not None
    assert sampled.low is not None
    assert alone.high is not None
    assert sampled.high is not None
    least, most = wilson_interval(min(math.fsum(values) * rows, rows * len(values)), rows * len(values))
    assert 0 <= sampled.low <= alone.low <= alone.high <= sampled.high <= 1
    assert sampled.low <= least + 1e-9
    assert sampled.high >= most - 1e-9


def test_seeds_that_agree_do_not_make_a_sampled_share_certain() -> None:
    assert (share_over_seeds([1.0] * 3).low, share_over_seeds([1.0] * 3).high) == (1.0, 1.0)
    low = share_over_seeds([1.0] * 3, rows=20).low
    assert low is not None
    assert low == pytest.approx(wilson_interval(60, 60)[0])


def test_an_interval_of_another_confidence_is_what_it_would_have_been() -> None:
    for make in (mean_over_seeds, share_over_seeds, rate_over_trials):
        values = [0.2, 0.4, 0.9]
        assert make(values).at(0.8) == make(values, confidence=0.8)
    assert success_rate(3, 10).at(0.8) == success_rate(3, 10, confidence=0.8)
    assert share_over_seeds([0.5, 0.6], rows=7).at(0.5) == share_over_seeds([0.5, 0.6], rows=7, confidence=0.5)
    given_ = Estimate(0.5, 0.1, 0.9, n=3)
    assert given_.at(0.5) is given_
    assert mean_over_seeds([0.1]).at(0.5).low is None


def test_an_estimate_keeps_its_values_and_names_its_method() -> None:
    assert mean_over_seeds([0.1, 0.3]).values == (0.1, 0.3)
    assert rate_over_trials([1, 0, 0.5]).values == (1.0, 0.0, 0.5)
    methods = [mean_over_seeds([0.1]), share_over_seeds([0.1]), share_over_seeds([0.1], rows=3), rate_over_trials([1])]
    assert [estimate.method for estimate in methods] == list(dict.fromkeys(estimate.method for estimate in methods))
    assert all(isinstance(estimate.method, Method) and estimate.method.words for estimate in methods)


@pytest.mark.parametrize("make", [share_over_seeds, rate_over_trials])
def test_what_is_no_share_is_refused(make: Callable[[list[float]], Estimate]) -> None:
    with pytest.raises(ValueError, match=r"\[1\.5\]: expected"):
        make([1.5])
    with pytest.raises(ValueError, match=r"values=\[\]"):
        make([])
