import pytest

from gradshape_bench.records.record import Record, Status
from gradshape_bench.report.html.threats import Threat, threat
from tests.bench.report.html.sample import trials
from tests.bench.sample import estimate, make, unmeasured


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        (make(), Threat.INDISCRIMINATE),
        (trials([1, 0]), Threat.TARGETED),
        (make(metrics={"rad": estimate(0.1), "backdoor_rate": estimate(0.9)}, thresholds=()), Threat.BACK_DOOR),
        (make(metrics={"magnitude_ratio": estimate(3)}, thresholds=()), Threat.NONE),
        (unmeasured(Status.FAILED, "no", protocol="multi_poison_3to4"), Threat.TARGETED),
        (unmeasured(Status.FAILED, "no", protocol="clusters"), Threat.NONE),
    ],
)
def test_threat_is_what_is_measured_or_what_the_protocol_says(record: Record, wanted: Threat) -> None:
    assert threat([record]) is wanted


def test_unmeasured_cases_do_not_hide_what_the_others_measure() -> None:
    assert threat([unmeasured(Status.FAILED, "no", protocol="mine"), trials([1, 0])]) is Threat.TARGETED
