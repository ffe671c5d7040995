import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gradshape.metrics import mean_over_seeds
from gradshape_bench.gate import sources
from gradshape_bench.gate.comparison import compare
from gradshape_bench.gate.rules import DEFAULT_RULES
from gradshape_bench.records.record import Record
from tests.bench.gate.sample import record, snapshots

METRICS = [rule.metric for rule in DEFAULT_RULES]


def test_cases_of_a_file_are_those_of_its_records(tmp_path: Path) -> None:
    records = [record(attack=name) for name in ("a", "b")]
    path = tmp_path / "results.jsonl"
    path.write_text("".join(f"{one.to_json()}\n" for one in records))
    assert sources.load(path, METRICS).cases == snapshots(records)


def test_latest_record_of_a_case_counts(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(f"{record((0.5,) * 5).to_json()}\n{record().to_json()}\n")
    assert sources.load(path, METRICS).cases == snapshots([record()])


def test_comparing_is_not_much_slower_than_reading_json(tmp_path: Path) -> None:
    values = mean_over_seeds([0.123456789, 0.2345678912, 0.34567891234])
    more = {f"{name}{suffix}": values for name in (*METRICS, "a", "b", "c") for suffix in ("", "_best", "_last")}
    lines = [record((0.1, 0.2, 0.3), more=more, attack=f"case_{place}").to_json() for place in range(200)]
    path = tmp_path / "results.jsonl"
    path.write_text("\n".join(lines))

    def compared() -> None:
        base, new = (sources.load(path, METRICS).cases for _ in range(2))
        compare(base, new, DEFAULT_RULES)

    def read() -> None:
        for line in (*lines, *lines):
            json.loads(line)

    # The best of several, as other programs take time, too. It is about 4.
    assert best(compared) < 10 * best(read)


def best(action: Callable[[], None]) -> float:
    def seconds() -> float:
        began = time.process_time()
        action()
        return time.process_time() - began

    return min(seconds() for _ in range(3))


def test_records_of_a_run_give_the_same_cases_as_its_file(tmp_path: Path) -> None:
    made = Record.from_json(record(rates=[1.0, 0.0], trials=[[1, 2], [3, 4]]).to_json())
    path = tmp_path / "results.jsonl"
    path.write_text(made.to_json())
    assert sources.load(path, METRICS).cases == sources.of_records([made], METRICS)


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file: expected results"):
        sources.load(tmp_path / "none", METRICS)
