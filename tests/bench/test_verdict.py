import math

import pytest

from gradshape.metrics import Estimate
from gradshape_bench.clean_model import Ruin
from gradshape_bench.verdict import Threshold, Verdict, judge


@pytest.mark.parametrize(
    ("op", "low", "high", "verdict"),
    [
        ("<", 0.01, 0.04, Verdict.PASS),
        ("<", 0.04, 0.06, Verdict.INCONCLUSIVE),
        ("<", 0.06, 0.07, Verdict.FAIL),
        ("<", 0.01, 0.05, Verdict.INCONCLUSIVE),
        ("<=", 0.01, 0.05, Verdict.PASS),
        (">", 0.01, 0.04, Verdict.FAIL),
        (">", 0.05, 0.06, Verdict.INCONCLUSIVE),
        (">=", 0.05, 0.06, Verdict.PASS),
    ],
)
def test_verdict_is_what_the_whole_interval_says(op: str, low: float, high: float, verdict: Verdict) -> None:
    judgement = judge(Threshold("rad", op, 0.05), {"rad": Estimate((low + high) / 2, low, high, n=5)})
    assert judgement.verdict is verdict


@pytest.mark.parametrize(("value", "met"), [(0.04, True), (0.05, False), (0.06, False)])
def test_without_interval_inconclusive_and_the_value_decides(value: float, met: bool) -> None:
    judgement = judge(Threshold("rad", "<", 0.05), {"rad": Estimate(value, None, None, n=1)})
    assert (judgement.verdict, judgement.met) == (Verdict.INCONCLUSIVE, met)


def test_judgement_says_threshold_value_interval_and_verdict() -> None:
    text = str(judge(Threshold("rad", "<", 0.05), {"rad": Estimate(0.06, 0.055, 0.065, n=5)}))
    assert text == "rad < 0.05: measured 0.0600 [0.0550, 0.0650] (n=5): FAIL"


@pytest.mark.parametrize("sure", [True, False])
def test_reason_why_a_number_counts_for_nothing_comes_before_it(sure: bool) -> None:
    ruined = Ruin("the clean model does not work", sure)
    text = str(judge(Threshold("rad", "<", 0.2), {"rad": Estimate(-0.1, -0.15, -0.05, n=3)}, ruin=ruined))
    assert text.startswith(f"the clean model does not work: {'FAIL' if sure else 'INCONCLUSIVE'}, ")
    assert text.endswith("rad < 0.2: measured -0.1000 [-0.1500, -0.0500] (n=3)")


def test_unknown_operator_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown operator '==': .*known: <, <=, >, >="):
        Threshold("rad", "==", 0.05)


@pytest.mark.parametrize("bound", [math.nan, math.inf, -math.inf])
def test_bound_has_to_be_finite(bound: float) -> None:
    with pytest.raises(ValueError, match=f"bound={bound!r}: expected a finite number"):
        Threshold("rad", "<", bound)


def test_metric_that_is_not_measured_lists_near_ones() -> None:
    with pytest.raises(ValueError, match="unknown metric 'rda': did you mean 'rad'"):
        judge(Threshold("rda", "<", 0.05), {"rad": Estimate(0.01, None, None, n=1)})
