import dataclasses
import json
import math
from typing import Any

import pytest

from gradshape.metrics import Estimate
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
        {"metric": "rad", "op": "<", "bound": 0.05, "verdict": "PASS", "met": True}
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
    with pytest.raises(ValueError, match="schema 2: this version reads schema 1"):
        Record.from_json('{"schema": 2}')


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
        ("metrics", {}),
        ("thresholds", [{"metric": "rad", "op": "<", "bound": None, "verdict": "PASS", "met": True}]),
        ("thresholds", [{"metric": "rad", "op": "<", "bound": math.nan, "verdict": "PASS", "met": True}]),
    ],
)
def test_value_of_a_wrong_type_is_an_error(field: str, value: Any) -> None:
    document = json.loads(make().to_json()) | {field: value}
    with pytest.raises(ValueError, match=r"not a record|not a valid Status"):
        Record.from_json(json.dumps(document))


def test_statuses_are_these() -> None:
    assert {status.value for status in Status} == {"ok", "failed", "skipped", "crashed", "diverged", "timeout"}
