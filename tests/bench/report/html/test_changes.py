from dataclasses import replace

import pytest

from gradshape.metrics import Estimate
from gradshape_bench.records.record import Record, Status
from gradshape_bench.report.html.changes import Kind, change
from tests.bench.report.html.sample import seeded, trials
from tests.bench.sample import estimate, make, unmeasured


def case(rad: float) -> Record:
    return seeded("label_flip_10", "dp_adam_c1", rad=rad)


def test_pairs_of_seeds_see_what_their_spread_would_hide() -> None:
    # The seeds spread by 0.01 and all of them rise by 0.004.
    found = change(case(0.1), case(0.104))
    assert found.kind is Kind.WORSE
    assert found.difference is not None
    assert found.difference.value == pytest.approx(0.004)
    assert found.reason == "paired over 4 seeds"


def test_less_is_better() -> None:
    assert change(case(0.104), case(0.1)).kind is Kind.BETTER


def test_only_seeds_that_both_have_are_paired() -> None:
    later = replace(case(0.104), seeds=(2, 3, 8, 9))
    assert change(case(0.1), later).reason == "paired over 2 seeds"


def test_without_values_of_seeds_the_intervals_decide() -> None:
    one, near, far = make(rad=0.1), make(rad=0.104), make(rad=0.2)
    assert change(one, near).kind is Kind.UNDECIDED
    assert change(one, far).kind is Kind.WORSE
    assert change(far, one).kind is Kind.BETTER


def test_outcomes_of_trials_are_not_taken_for_values_of_seeds() -> None:
    assert change(trials([1, 0, 1]), trials([1, 1, 1])).reason == "by the intervals of both runs"


def test_without_an_interval_nothing_is_decided() -> None:
    single = make(rad=Estimate(0.1, None, None, n=1), seeds=(0,))
    other = make(rad=Estimate(0.5, None, None, n=1), seeds=(0,))
    assert change(single, other).kind is Kind.UNDECIDED


def test_equal_numbers_are_the_same() -> None:
    assert change(case(0.1), case(0.1)).kind is Kind.SAME


def test_cases_of_one_run_alone_are_new_or_missing() -> None:
    assert change(None, case(0.1)).kind is Kind.NEW
    assert change(case(0.1), None).kind is Kind.MISSING


def test_a_number_that_is_neither_good_nor_bad_only_differs() -> None:
    one, other = (make(metrics={"magnitude_ratio": estimate(value)}, thresholds=()) for value in (2.0, 9.0))
    assert change(one, other).kind is Kind.DIFFERS


@pytest.mark.parametrize(
    ("later", "reason"),
    [
        (replace(case(0.5), challenge="e" * 64), "another challenge"),
        (replace(case(0.5), dataset_fingerprint="e" * 64), "other rows"),
        (unmeasured(Status.CRASHED, "it died"), "crashed now"),
        (trials([1, 0]), "they measure different things"),
    ],
)
def test_only_like_is_compared_with_like(later: Record, reason: str) -> None:
    found = change(case(0.1), later)
    assert found.kind is Kind.INCOMPARABLE
    assert found.reason.startswith(reason)


def test_records_of_old_versions_which_name_no_challenge_are_compared() -> None:
    assert change(replace(case(0.1), challenge=None), case(0.5)).kind is Kind.WORSE
