import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradshape_bench.records.store import ResultsFile, replacing, write_atomically
from tests.bench.sample import make, odd


@pytest.fixture
def store(tmp_path: Path) -> ResultsFile:
    return ResultsFile(tmp_path / "new" / "results.jsonl")


def test_no_file_holds_no_records(store: ResultsFile) -> None:
    assert store.records() == []
    store.compact()
    assert not store.path.exists()


def test_records_come_back_sorted(store: ResultsFile) -> None:
    for record in odd():
        store.append(record)
    assert store.records() == sorted(odd(), key=lambda record: record.key)


def test_latest_record_of_a_case_counts(store: ResultsFile) -> None:
    for seconds in (3.0, 1.0, 2.0):
        store.append(make(seconds=seconds))
    store.append(make(scale="paper", seconds=9.0))
    assert [(record.scale, record.seconds) for record in store.records()] == [("paper", 9.0), ("smoke", 2.0)]


@pytest.mark.parametrize("kept", [1, 40, -1])
def test_half_a_line_spoils_no_other(store: ResultsFile, kept: int, caplog: pytest.LogCaptureFixture) -> None:
    store.append(make(attack="first_1"))
    with store.path.open("a") as file:
        file.write(make(attack="killed_1").to_json()[:kept])
    assert [record.attack for record in store.records()] == ["first_1"]
    store.append(make(attack="next_1"))
    assert [record.attack for record in store.records()] == ["first_1", "next_1"]
    assert f"left out and kept as it is: {store.path}:2 (" in caplog.text


def test_record_that_lacks_only_its_line_end_is_whole(store: ResultsFile) -> None:
    store.path.parent.mkdir()
    store.path.write_text(make(attack="killed_1").to_json())
    store.append(make(attack="next_1"))
    assert [record.attack for record in store.records()] == ["killed_1", "next_1"]


def test_record_that_cannot_be_written_leaves_the_file_alone(store: ResultsFile) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.append(make(seconds=float("nan")))
    assert not store.path.exists()


@pytest.mark.parametrize(
    ("line", "report"),
    [
        (json.dumps({"schema": 99}), "schema 99: this version reads schemas (1, 2)"),
        ("\x00\x00\x00", "Expecting value"),
        ('{"schema": 1}', "not a record"),
        ("5", "not a record"),
    ],
)
def test_other_lines_are_reported_and_left_out(
    store: ResultsFile, line: str, report: str, caplog: pytest.LogCaptureFixture
) -> None:
    store.append(make())
    with store.path.open("a") as file:
        file.write(f"\n{line}\n")
    assert store.records() == [make()]
    assert [(entry.levelno, report in entry.getMessage()) for entry in caplog.records] == [(logging.WARNING, True)]
    assert f"{store.path}:3" in caplog.text


def test_bytes_that_are_no_text_are_left_out(store: ResultsFile, caplog: pytest.LogCaptureFixture) -> None:
    store.append(make())
    with store.path.open("ab") as file:
        file.write(b"\xff\xfe\n")
    assert store.records() == [make()]
    assert "is left out" in caplog.text


def test_compaction_keeps_the_latest_and_what_it_cannot_read(store: ResultsFile) -> None:
    other = json.dumps({"schema": 99, "case": "of the future"})
    for seconds in (1.0, 2.0):
        store.append(make(seconds=seconds))
        store.append(make(scale="paper", seconds=seconds))
    with store.path.open("a") as file:
        file.write(f"{other}\nhalf a li")
    before = store.records()
    store.compact()
    assert store.records() == before
    assert store.path.read_text().splitlines() == [
        other,
        "half a li",
        *(record.to_json() for record in before),
    ]


def test_interrupted_write_leaves_the_old_content_and_no_litter(tmp_path: Path) -> None:
    def text() -> Iterator[str]:
        yield "half"
        raise RuntimeError("interrupted")

    path = tmp_path / "page.md"
    write_atomically(path, ["old"])
    with pytest.raises(RuntimeError):
        write_atomically(path, text())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_cases_that_are_removed_leave_the_others_and_foreign_lines(tmp_path: Path) -> None:
    store = ResultsFile(tmp_path / "results.jsonl")
    for record in (make(case="a"), make(case="b"), make(case="a", scale="paper")):
        store.append(record)
    with store.path.open("a") as file:
        file.write("not a record\n")
    assert store.remove({("smoke", "a"), ("smoke", "none")}) == 1
    assert {record.key for record in store.records()} == {("smoke", "b"), ("paper", "a")}
    assert "not a record\n" in store.path.read_text()


def test_two_that_write_one_file_at_once_leave_the_whole_of_either(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    # In one process, whose number is that of a process on another machine.
    with replacing(path) as first:
        first.write(b"long" * 1000)
        with replacing(path) as second:
            second.write(b"short")
        assert path.read_bytes() == b"short"
    assert path.read_bytes() == b"long" * 1000
    assert list(tmp_path.iterdir()) == [path]
