import math

import pytest
import torch

from gradshape.data import load
from gradshape.metrics import Estimate, mean_over_seeds, share_over_seeds
from gradshape_bench.clean_model import Ruin, is_robustness, ruin, trivial_scores
from gradshape_bench.verdict import Threshold, Verdict, judge

TEN = {"accuracy": 0.1}
BOUND = Threshold("rad", "<", 0.05)
GOOD = {"rad": mean_over_seeds([0.01, 0.011, 0.012])}


@pytest.mark.parametrize(
    ("accuracies", "sure"), [([0.12, 0.12, 0.13], True), ([0.05, 0.3], False), ([0.18], True), ([0.5, 0.5], None)]
)
def test_a_model_near_chance_does_not_work(accuracies: list[float], sure: bool | None) -> None:
    found = ruin({"accuracy_clean": share_over_seeds(accuracies)}, trivial=TEN, utility=None)
    assert (None if found is None else found.sure) is sure
    if found is not None:
        assert "near that of a guess, 0.100" in found.reason


def test_chance_is_that_of_the_task() -> None:
    accuracy = {"accuracy_clean": share_over_seeds([0.54, 0.54])}
    assert ruin(accuracy, trivial={"accuracy": 0.5}, utility=None) is not None
    assert ruin(accuracy, trivial=TEN, utility=None) is None


def test_a_defence_beyond_its_utility_bound_leaves_no_model_to_speak_of() -> None:
    costly = {"accuracy_clean": share_over_seeds([0.7, 0.7]), "utility_loss": mean_over_seeds([0.2, 0.21])}
    found = ruin(costly, trivial=TEN, utility=0.1)
    assert found == Ruin("the defence costs too much on clean data: utility_loss 0.205 > 0.1", sure=True)
    assert ruin(costly, trivial=TEN, utility=None) is None
    assert ruin(costly, trivial=TEN, utility=0.3) is None


def test_a_certain_reason_comes_before_an_uncertain_one() -> None:
    both = {"accuracy_clean": share_over_seeds([0.05, 0.3]), "utility_loss": mean_over_seeds([0.8, 0.81])}
    found = ruin(both, trivial=TEN, utility=0.1)
    assert found is not None
    assert (found.sure, "utility_loss" in found.reason) == (True, True)


def test_regression_has_the_mean_answer_and_a_ratio() -> None:
    answers = {"mse_clean": mean_over_seeds([0.95, 0.96, 0.95])}
    found = ruin(answers, trivial={"mse": 1.0}, utility=None)
    assert found is not None
    assert "near that of the mean answer" in found.reason
    ratio = {"mse_clean": mean_over_seeds([0.2, 0.2]), "mse_ratio_utility": mean_over_seeds([1.5, 1.5])}
    found = ruin(ratio, trivial={"mse": 1.0}, utility=0.1)
    assert found is not None
    assert "mse_ratio_utility 1.500 > 1.1" in found.reason


def test_nothing_is_said_of_experiments_without_a_clean_model() -> None:
    assert ruin({"cluster_purity": share_over_seeds([0.0, 0.0])}, trivial=TEN, utility=0.1) is None


def test_what_looks_at_no_feature_says_the_most_frequent_class() -> None:
    data = load("digits")
    shares = torch.bincount(data.test.y) / len(data.test)
    assert trivial_scores(data) == {"accuracy": pytest.approx(float(shares.max()))}


@pytest.mark.parametrize("metric", ["rad", "rad_best", "rad_vs_vanilla_last", "success_rate_raw", "backdoor_rate"])
def test_bounds_on_robustness_are_not_met_by_a_model_that_does_not_work(metric: str) -> None:
    assert is_robustness(metric)
    good = {metric: mean_over_seeds([0.01, 0.011, 0.012])}
    bound = Threshold(metric, "<", 0.05)
    assert judge(bound, good).met
    sure, unsure = (judge(bound, good, ruin=Ruin("broken", sure=sure)) for sure in (True, False))
    assert (sure.verdict, sure.met, sure.reason) == (Verdict.FAIL, False, "broken")
    assert (unsure.verdict, unsure.met, unsure.reason) == (Verdict.INCONCLUSIVE, False, "broken")


@pytest.mark.parametrize("metric", ["utility_loss", "accuracy_clean", "success_rate_control", "magnitude_ratio"])
def test_other_bounds_say_what_they_say(metric: str) -> None:
    good = {metric: mean_over_seeds([0.01, 0.011, 0.012])}
    assert judge(Threshold(metric, "<", 0.05), good, ruin=Ruin("broken", sure=True)).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("values", "verdict"), [([-0.27, -0.28, -0.27], Verdict.FAIL), ([-0.1, 0.0, -0.08], Verdict.INCONCLUSIVE)]
)
def test_poison_that_improves_a_model_shows_one_that_is_not_trained(values: list[float], verdict: Verdict) -> None:
    judgement = judge(BOUND, {"rad": mean_over_seeds(values)})
    assert (judgement.verdict, judgement.met) == (verdict, False)
    assert "not trained to the end" in str(judgement)
    # Within what it may do to the worse it may do to the better.
    assert judge(BOUND, {"rad": mean_over_seeds([-0.04, -0.041, -0.042])}).verdict is Verdict.PASS


def test_a_reason_adds_nothing_to_a_bound_that_is_missed_anyhow() -> None:
    judgement = judge(BOUND, {"rad": mean_over_seeds([0.2, 0.2, 0.2])}, ruin=Ruin("broken", sure=True))
    assert (judgement.verdict, judgement.reason) == (Verdict.FAIL, None)


def test_the_interval_that_decides_has_the_confidence_that_is_asked_for() -> None:
    metrics = {"rad": mean_over_seeds([0.03, 0.035, 0.04])}
    assert judge(BOUND, metrics).verdict is Verdict.PASS
    assert judge(BOUND, metrics, confidence=0.999).verdict is Verdict.INCONCLUSIVE
    given = {"rad": Estimate(0.03, 0.02, 0.04, n=3)}
    assert judge(BOUND, given, confidence=0.999).verdict is Verdict.PASS
    assert math.isclose(judge(BOUND, metrics).estimate.value, 0.035)
