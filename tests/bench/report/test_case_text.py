from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradshape.metrics import mean_over_seeds, rate_over_trials
from gradshape_bench.records.record import Record, Status
from gradshape_bench.report.case_text import case_text
from gradshape_bench.report.terminal import columns
from gradshape_bench.verdict import Threshold, judge
from tests.bench.sample import make, odd, unmeasured

RAD = mean_over_seeds([0.01, 0.02, 0.03])
RECORD = make(
    rad=RAD,
    seeds=(0, 1, 2),
    thresholds=(Threshold("rad", "<", 0.05), Threshold("rad", "<", 0.01)),
    costs={"training": 0.25},
    jobs=12,
    cached_jobs=6,
    looks=(3, 6),
    planned_looks=3,
    test="suites/test_indiscriminate.py",
)


def text(record: Record) -> str:
    return " ".join(" ".join(case_text(record)).split())


@pytest.mark.parametrize(
    "said",
    [
        "digits-lr-label_flip_10-dp_adam_c4 (smoke scale)",
        "INCONCLUSIVE missed",
        "rad 0.0200 [-0.0048, 0.0448] (n=3), Student's t over the seeds: 0.0100 0.0200 0.0300",
        "Relative accuracy drop of the poisoned model",
        "rad < 0.01 0.0200 [-0.0048, 0.0448] (n=3): INCONCLUSIVE, missed",
        "training 0.25 s a job",
        "jobs 12, 6 of them from the cache",
        "looked at with 3, then 6 seeds, at most 3 times",
        "test suites/test_indiscriminate.py",
        "10,800 train rows",
        "commit 0123abc",
    ],
)
def test_everything_about_a_case_is_shown(said: str) -> None:
    assert said in text(RECORD)


def test_trials_are_counted_and_not_listed() -> None:
    rate = rate_over_trials([1.0, 0.0, 1.0])
    assert ": 2 of 3" in text(replace(RECORD, metrics={"success_rate": rate}, judgements=()))


def test_reason_of_a_verdict_is_shown() -> None:
    judgement = replace(judge(Threshold("rad", "<", 0.05), {"rad": RAD}), reason="the clean model does not work")
    assert "the clean model does not work" in text(replace(RECORD, judgements=(judgement,)))


def test_reason_of_a_failure_is_shown() -> None:
    assert "crashed: out of memory" in text(unmeasured(Status.CRASHED, "out of memory"))


@given(st.sampled_from([RECORD, *odd()]), st.integers(20, 200))
def test_lines_fit_any_terminal(record: Record, width: int) -> None:
    assert all(columns(line) <= width for line in case_text(record, width=width))
