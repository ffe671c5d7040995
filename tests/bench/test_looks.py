from collections.abc import Sequence

import numpy as np
import pytest

from gradshape.metrics import mean_over_seeds, rate_over_trials
from gradshape_bench.looks import confidence_of_each, looks
from gradshape_bench.verdict import Threshold, Verdict, judge

BOUND = Threshold("rad", "<", 0.05)
CASES = 2000
# Three standard errors above the error rate that is promised.
ALLOWED = 0.05 + 3 * (0.05 * 0.95 / CASES) ** 0.5


@pytest.mark.parametrize(
    ("seeds", "most", "expected"),
    [(3, None, [3]), (3, 3, [3]), (3, 4, [3, 4]), (3, 6, [3, 6]), (5, 45, [5, 10, 20, 40, 45]), (1, 4, [1, 2, 4])],
)
def test_each_look_has_twice_the_seeds(seeds: int, most: int | None, expected: list[int]) -> None:
    assert looks(seeds, most) == expected


def test_looks_share_the_chance_of_error() -> None:
    assert confidence_of_each(0.95, [3]) == pytest.approx(0.95)
    assert confidence_of_each(0.95, [3, 6, 12, 20]) == pytest.approx(1 - 0.05 / 4)


def concluded(values: Sequence[float], planned: Sequence[int], confidence: float) -> Verdict:
    """The verdict of a case that is repeated until it is conclusive."""
    for count in planned:
        verdict = judge(BOUND, {"rad": mean_over_seeds(values[:count])}, confidence=confidence).verdict
        if verdict is not Verdict.INCONCLUSIVE:
            return verdict
    return Verdict.INCONCLUSIVE


def test_a_case_on_the_bound_is_concluded_as_seldom_as_is_promised() -> None:
    """Where the truth is on the bound, every conclusion is an error; elsewhere errors are rarer still."""
    planned, draws = looks(3, 24), np.random.default_rng(0)
    cases = draws.normal(BOUND.bound, 0.02, (CASES, planned[-1]))

    def errors(confidence: float) -> float:
        return sum(concluded(list(case), planned, confidence) is not Verdict.INCONCLUSIVE for case in cases) / CASES

    assert errors(confidence_of_each(0.95, planned)) <= ALLOWED
    # Looking again and again with the confidence of a single look breaks the promise.
    assert errors(0.95) > ALLOWED


def test_more_seeds_decide_what_few_cannot() -> None:
    planned, draws = looks(3, 24), np.random.default_rng(1)
    cases = draws.normal(BOUND.bound - 0.02, 0.02, (300, planned[-1]))
    confidence = confidence_of_each(0.95, planned)
    found = [concluded(list(case), planned, confidence) for case in cases]
    at_once = [concluded(list(case), planned[:1], 0.95) for case in cases]
    assert found.count(Verdict.PASS) > 1.5 * at_once.count(Verdict.PASS)
    assert found.count(Verdict.FAIL) <= 0.025 * len(cases) + 3


@pytest.mark.parametrize(("rate", "trials"), [(0.5, 10), (0.1, 40), (0.05, 100)])
def test_rates_on_the_bound_are_concluded_as_seldom(rate: float, trials: int) -> None:
    """Wilson's interval covers its confidence in the mean; a discrete rate may be a little above it."""
    draws = np.random.default_rng(2)
    bound = Threshold("success_rate", "<", rate)
    wrong = sum(
        judge(bound, {"success_rate": rate_over_trials(list(draws.random(trials) < rate))}).verdict
        is not Verdict.INCONCLUSIVE
        for _ in range(CASES)
    )
    assert wrong / CASES <= ALLOWED + 0.02
