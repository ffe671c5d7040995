from dataclasses import replace

from gradshape_bench.records.record import Status
from gradshape_bench.report.junit import properties
from gradshape_bench.verdict import Threshold
from tests.bench.sample import aimed, estimate, make, unmeasured


def test_headline_metrics_have_their_values_and_intervals() -> None:
    found = dict(properties(make(rad=0.012)))
    assert found["gradshape.rad"] == "0.012"
    assert found["gradshape.rad.low"] == "0.008"
    assert found["gradshape.rad.high"] == "0.016"
    assert {"gradshape.rad_vs_vanilla", "gradshape.utility_loss"} <= found.keys()
    assert "gradshape.rad_best" not in found


def test_every_protocol_has_its_own_headline_metric() -> None:
    assert "gradshape.success_rate" in dict(properties(aimed()))


def test_metrics_of_thresholds_are_there_too() -> None:
    record = make(thresholds=(Threshold("accuracy_clean", ">", 0.9),))
    assert dict(properties(record))["gradshape.accuracy_clean"] == "0.95"


def test_verdicts_say_what_was_met_and_why_not() -> None:
    record = make(rad=0.2)
    judgement = replace(record.judgements[0], reason="the clean model does not work")
    found = dict(properties(replace(record, judgements=(judgement,))))
    assert found["gradshape.threshold.1"] == "rad < 0.05: FAIL, missed: the clean model does not work"
    assert found["gradshape.verdict"] == "FAIL"


def test_seeds_and_status_are_there() -> None:
    found = dict(properties(make(seeds=(4, 5))))
    assert (found["gradshape.seeds"], found["gradshape.status"]) == ("4 5", "ok")


def test_without_an_interval_there_are_no_ends() -> None:
    assert "gradshape.rad.low" not in dict(properties(make(rad=estimate(0.01, half=None))))


def test_a_case_that_was_not_measured_says_why() -> None:
    found = dict(properties(unmeasured(Status.CRASHED, "out of \x1b[1m memory")))
    assert found["gradshape.reason"] == "out of \\x1b[1m memory"
    assert "gradshape.rad" not in found
