"""What a test is given of its case, and what it raises where thresholds are missed."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from gradshape.attacks import LabelFlip
from gradshape.defenses import NoDefense
from gradshape.metrics import Estimate
from gradshape.training import Adam, Recipe
from gradshape_bench.case import Case, Scale, Task
from gradshape_bench.records.record import Record, Status
from gradshape_bench.session import (
    CaseOutcome,
    ThresholdMissed,
    blank_record,
)
from gradshape_bench.verdict import Threshold, Verdict, judge

TASK = Task("two_moons", Recipe("lr", Adam(0.5), batch_size=64, epochs=2))
CASE = Case(
    TASK, LabelFlip(0.1), NoDefense(), scale=Scale.SMOKE, seeds=(0, 1), thresholds=(Threshold("rad", "<", 0.9),)
)


METRICS: Mapping[str, Estimate] = {
    "rad": Estimate(0.04, 0.03, 0.06, n=2),
    "utility_loss": Estimate(0.01, 0.005, 0.015, n=2),
    "rad_last": Estimate(0.5, 0.4, 0.6, n=2),
}


def outcome(*thresholds: Threshold, strict: bool = False) -> CaseOutcome:
    judgements = tuple(judge(threshold, METRICS) for threshold in thresholds)
    record = replace(blank_record(CASE, Status.OK), metrics=METRICS, judgements=judgements)
    return CaseOutcome(CASE, lambda: record, strict=strict)


def missed(*thresholds: Threshold, strict: bool = False) -> str:
    with pytest.raises(ThresholdMissed) as caught:
        outcome(*thresholds, strict=strict).check()
    return str(caught.value)


INCONCLUSIVE = Threshold("rad", "<", 0.05)
BROKEN = Threshold("rad", "<", 0.02)
HOLDS = Threshold("utility_loss", "<", 0.02)


def test_met_thresholds_pass() -> None:
    outcome(INCONCLUSIVE, HOLDS).check()


def test_missed_threshold_shows_value_and_interval_and_bound_and_verdict() -> None:
    assert "rad < 0.02: measured 0.0400 [0.0300, 0.0600] (n=2): FAIL" in missed(BROKEN)


def test_missed_threshold_shows_the_case_and_how_to_run_it_again() -> None:
    text = missed(BROKEN)
    assert f"case: {CASE.id} (scale smoke, 2 seeds)" in text
    assert f"re-run: pytest --case {CASE.id} --scale smoke --seeds 2" in text


def test_first_line_of_a_missed_threshold_is_the_reason() -> None:
    assert missed(BROKEN).splitlines()[0] == "rad < 0.02: measured 0.0400 [0.0300, 0.0600] (n=2): FAIL"


def test_command_uses_no_short_name_that_another_plugin_has() -> None:
    record = replace(blank_record(CASE, Status.OK), metrics=METRICS, judgements=(judge(BROKEN, METRICS),))
    with pytest.raises(ThresholdMissed) as caught:
        CaseOutcome(CASE, lambda: record, strict=False, test="a b/test_x.py", taken=["seeds"]).check()
    assert f"pytest 'a b/test_x.py' --case {CASE.id} --scale smoke --gradshape-seeds 2" in str(caught.value)


def test_missed_threshold_shows_the_other_metrics_of_the_chosen_epoch() -> None:
    text = missed(BROKEN)
    assert "utility_loss: 0.0100" in text
    assert "rad_last" not in text


def test_met_thresholds_are_not_among_the_missed() -> None:
    assert "utility_loss < 0.02" not in missed(BROKEN, HOLDS)


def test_strict_run_fails_inconclusive_thresholds() -> None:
    assert f"rad < 0.05: measured 0.0400 [0.0300, 0.0600] (n=2): {Verdict.INCONCLUSIVE.value}" in missed(
        INCONCLUSIVE, strict=True
    )


def test_strict_run_passes_sure_thresholds() -> None:
    outcome(HOLDS, strict=True).check()


def test_metrics_are_those_of_the_record() -> None:
    assert outcome().metrics == METRICS


def test_case_is_run_once_and_only_when_it_is_looked_at() -> None:
    runs: list[Case] = []

    def measure() -> Record:
        runs.append(CASE)
        return replace(blank_record(CASE, Status.OK), metrics=METRICS)

    lazy = CaseOutcome(CASE, measure, strict=False)
    assert runs == []
    lazy.check()
    assert lazy.record.metrics == lazy.metrics
    assert runs == [CASE]
