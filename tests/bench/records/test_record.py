import dataclasses
import json
import math
from typing import Any

import pytest

from gradshape.metrics import Estimate, mean_over_seeds, share_over_seeds
from gradshape_bench.records.record import Record, Status
from gradshape_bench.verdict import Threshold, Verdict
from tests.bench.sample import make, odd


@pytest.mark.parametrize("record", odd(), ids=lambda record: record.key)
def test_comes_back_as_it_was_written(record: Record) -> None:
    assert Record.from_json(record.to_json()) == record


def test_is_one_line_with_the_promised_fields() -> None:
    line = make(expected_failure="a\nb").to_json()
    assert "\n" not in line
    assert set(json.loads(line)) >= {
        "schema",
        "case",
        "fingerprint",
        "dataset",
        "dataset_fingerprint",
        "model",
        "protocol",
        "attack",
        "defense",
        "scale",
        "seeds",
        "status",
        "metrics",
        "thresholds",
        "seconds",
        "environment",
    }
    assert json.loads(line)["thresholds"] == [
        {
            "metric": "rad",
            "op": "<",
            "bound": 0.05,
            "low": pytest.approx(0.008),
            "high": pytest.approx(0.016),
            "verdict": "PASS",
            "met": True,
            "reason": None,
        }
    ]


def test_numbers_that_json_does_not_have_are_not_written() -> None:
    record = dataclasses.replace(make(), metrics={"rad": Estimate(math.nan, None, None, n=1)})
    with pytest.raises(ValueError, match="not JSON compliant"):
        record.to_json()


@pytest.mark.parametrize(
    ("bounds", "verdict", "missed"),
    [
        ((), None, 0),
        ((0.05, 0.04), Verdict.PASS, 0),
        ((0.05, 0.0125), Verdict.INCONCLUSIVE, 0),
        ((0.05, 0.0125, 0.0115, 0.001), Verdict.FAIL, 2),
    ],
)
def test_verdict_is_the_worst_one(bounds: tuple[float, ...], verdict: Verdict | None, missed: int) -> None:
    record = make(thresholds=[Threshold("rad", "<", bound) for bound in bounds])
    assert record.verdict is verdict
    assert len(record.missed) == missed


def test_same_case_at_another_scale_is_another_record() -> None:
    assert make(scale="smoke").key != make(scale="paper").key


def test_another_schema_is_told_apart() -> None:
    with pytest.raises(ValueError, match=r"schema 3: this version reads schemas \(1, 2\)"):
        Record.from_json('{"schema": 3}')


def test_records_of_schema_1_are_read_and_say_less() -> None:
    document = json.loads(make().to_json())
    for later in ("confidence", "looks", "planned_looks", "jobs", "cached_jobs", "challenge", "costs"):
        document.pop(later, None)
    for estimate in document["metrics"].values():
        for later in ("values", "method", "rows"):
            estimate.pop(later, None)
    for threshold in document["thresholds"]:
        for later in ("low", "high", "reason"):
            threshold.pop(later)
    record = Record.from_json(json.dumps(document | {"schema": 1}))
    assert (record.jobs, record.challenge, record.looks) == (None, None, ())
    assert record.metrics["rad"].value == make().metrics["rad"].value
    assert record.metrics["rad"].values == ()
    assert record.judgements[0].met


def test_values_methods_and_looks_come_back() -> None:
    metrics = {"rad": mean_over_seeds([0.1, 0.2]), "backdoor_rate": share_over_seeds([0.5, 1.0], rows=9)}
    record = dataclasses.replace(make(), metrics=metrics, judgements=(), looks=(2, 4), planned_looks=3, jobs=9)
    assert Record.from_json(record.to_json()) == record


@pytest.mark.parametrize("line", ["", "{", "[]", "1", "null", "{}", '{"schema": 1}', make().to_json()[:-1]])
def test_what_is_no_record_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match=r"not a record|JSON|Expecting|delimiter"):
        Record.from_json(line)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("case", None),
        ("scale", 1),
        ("seeds", ["0"]),
        ("seeds", 3),
        ("status", "great"),
        ("reason", 1),
        ("details", []),
        ("seconds", "1"),
        ("metrics", {"rad": {"value": "0.1", "low": None, "high": None, "n": 1}}),
        ("metrics", {"rad": {"value": 0.1, "low": "", "high": None, "n": 1}}),
        ("metrics", {"rad": {"value": 0.1, "low": 0, "high": 1, "n": 1, "values": 1}}),
        ("metrics", {"rad": {"value": 0.1, "low": 0, "high": 1, "n": 1, "values": ["a"]}}),
        ("metrics", {"rad": {"value": 0.1, "low": 0, "high": 1, "n": 1, "method": "guess"}}),
        ("metrics", {"rad": {"value": 0.1, "low": 0, "high": 1, "n": 1, "rows": "9"}}),
        ("metrics", {"rad": {"value": 0.1, "low": 0, "high": 1, "n": 1, "mood": 1}}),
        ("looks", [1.5]),
        ("confidence", None),
        ("jobs", "9"),
        ("challenge", 7),
        ("metrics", {}),
        ("thresholds", [{"metric": "rad", "op": "<", "bound": None, "verdict": "PASS", "met": True}]),
        ("thresholds", [{"metric": "rad", "op": "<", "bound": math.nan, "verdict": "PASS", "met": True}]),
    ],
)
def test_value_of_a_wrong_type_is_an_error(field: str, value: Any) -> None:
    document = json.loads(make().to_json()) | {field: value}
    with pytest.raises(ValueError, match=r"not a record|not a valid Status|not a valid Method"):
        Record.from_json(json.dumps(document))


def test_of_some_metrics_the_others_are_left_out_except_those_with_a_threshold() -> None:
    record = make(thresholds=[Threshold("rad", "<", 0.05)])
    found = Record.from_json(record.to_json(), only=["utility_loss", "none"])
    assert set(found.metrics) == {"rad", "utility_loss"}
    assert found == dataclasses.replace(record, metrics=found.metrics)


def test_metrics_that_are_left_out_are_checked_all_the_same() -> None:
    document = json.loads(make().to_json())
    document["metrics"]["accuracy_clean"]["values"] = ["a"]
    with pytest.raises(ValueError, match="accuracy_clean='a': expected"):
        Record.from_json(json.dumps(document), only=["utility_loss"])


def test_statuses_are_these() -> None:
    assert {status.value for status in Status} == {"ok", "failed", "skipped", "crashed", "diverged", "timeout"}


def test_shares_of_old_records_stay_within_0_and_1() -> None:
    rate = Estimate(0.97, 0.91, 1.03, n=3)
    old = dataclasses.replace(make(), metrics={"backdoor_rate_best": rate, "rad": rate}, judgements=())
    line = old.to_json().replace('"schema": 2', '"schema": 1')
    found = Record.from_json(line).metrics
    assert (found["backdoor_rate_best"].low, found["backdoor_rate_best"].high) == (0.91, 1.0)
    assert found["rad"].high == 1.03
