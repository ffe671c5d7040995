"""What the attacker of an experiment wants."""

import pytest

from gradshape.metrics import Estimate
from gradshape_bench.records.record import Record, Status
from gradshape_bench.report.threats import Threat, threat
from tests.bench.sample import aimed, estimate, make, unmeasured


def of(**metrics: Estimate) -> Record:
    return make(metrics=metrics, thresholds=())


@pytest.mark.parametrize(
    ("records", "wanted"),
    [
        ([make()], Threat.INDISCRIMINATE),
        ([of(mse_ratio=estimate(1.5))], Threat.INDISCRIMINATE),
        ([aimed()], Threat.TARGETED),
        ([of(backdoor_rate=estimate(0.9), rad=estimate(0.1))], Threat.BACK_DOOR),
        ([of(magnitude_ratio=estimate(2.0))], Threat.NONE),
        ([unmeasured(Status.FAILED, "why", protocol="one_shot_3to4")], Threat.TARGETED),
        ([unmeasured(Status.FAILED, "why", protocol="of my own")], Threat.NONE),
        ([unmeasured(Status.FAILED, "why", protocol="backdoor"), make()], Threat.INDISCRIMINATE),
    ],
)
def test_what_most_records_measure_says_what_is_wanted(records: list[Record], wanted: Threat) -> None:
    assert threat(records) is wanted
