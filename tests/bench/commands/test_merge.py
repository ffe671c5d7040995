"""``gradshape merge``: the results of several shards in one file."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gradshape.metrics import Estimate
from gradshape_bench.__main__ import main
from gradshape_bench.records.pending import Key, Pending, Sharded
from gradshape_bench.records.record import Record, Status
from gradshape_bench.records.store import ResultsFile
from tests.bench.sample import make, unmeasured

ONE, TWO, THREE = (make(attack=f"label_flip_{share}") for share in (10, 20, 30))
CRASHED = unmeasured(Status.CRASHED, "out of memory", attack="label_flip_10")


class Shards:
    """Results files of shards in a folder, and what merging them says."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.output = folder / "all" / "results.jsonl"
        self._capsys = capsys
        self.files: list[Path] = []

    def add(self, *records: Record, pending: Iterable[Key] | None = (), sharded: Iterable[Key] | None = None) -> Path:
        store = ResultsFile(self.folder / f"shard-{len(self.files)}" / "results.jsonl")
        store.path.parent.mkdir()
        store.path.touch()
        for record in records:
            store.append(record)
        if pending is not None:
            Pending(store.path).add(pending)
        if sharded is not None:
            Sharded(store.path).add(sharded)
        self.files.append(store.path)
        return store.path

    def merge(self, *arguments: str) -> tuple[int, str]:
        status = main(["merge", *map(str, self.files), "--output", str(self.output), *arguments])
        shown = self._capsys.readouterr()
        return status, shown.out + shown.err

    @property
    def records(self) -> list[Record]:
        return ResultsFile(self.output).records()


@pytest.fixture
def shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shards:
    return Shards(tmp_path, capsys)


def test_records_of_all_shards_are_joined_and_pages_made(shards: Shards) -> None:
    shards.add(TWO, ONE)
    shards.add(THREE)
    assert shards.merge() == (0, f"{shards.output}: 3 cases of 2 files\n")
    assert shards.records == [ONE, TWO, THREE]
    assert Pending(shards.output).keys() == set()
    assert shards.output.with_name("leaderboard.md").exists()
    assert THREE.attack in shards.output.with_name("leaderboard.html").read_text(encoding="utf-8")


def test_cases_that_a_shard_left_open_are_missing(shards: Shards) -> None:
    shards.add(ONE)
    shards.add(pending=[THREE.key])
    status, shown = shards.merge()
    assert status == 1
    assert f"1 selected case not measured:\n  smoke {THREE.case}\n" in shown
    assert Pending(shards.output).keys() == {THREE.key}
    assert shards.records == [ONE]


def test_cases_of_a_shard_that_left_nothing_are_missing(shards: Shards) -> None:
    shards.add(ONE, sharded=[ONE.key, TWO.key, THREE.key])
    status, shown = shards.merge()
    assert status == 1
    assert TWO.case in shown
    assert THREE.case in shown
    assert Pending(shards.output).keys() == {TWO.key, THREE.key}


def test_missing_cases_are_found_in_another_shard(shards: Shards) -> None:
    shards.add(ONE, pending=[THREE.key], sharded=[ONE.key, THREE.key])
    shards.add(THREE)
    assert shards.merge()[0] == 0


def test_a_record_of_before_an_ended_run_gives_way_and_does_not_count(shards: Shards) -> None:
    old = make(attack="label_flip_10", seconds=9.0, seeds=(7,))
    shards.add(ONE)
    shards.add(old, pending=[old.key])
    assert shards.merge()[0] == 0
    assert shards.records == [ONE]
    shards.files.reverse()
    assert shards.merge()[0] == 0
    assert shards.records == [ONE]
    del shards.files[1:]
    shards.output.unlink()
    assert shards.merge()[0] == 1
    assert shards.records == [old]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (make(attack="label_flip_10", fingerprint="e" * 64), "fingerprint ffffffffffff and eeeeeeeeeeee"),
        (make(attack="label_flip_10", seeds=(0, 1)), "seeds (0, 1, 2, 3, 4) and (0, 1)"),
        (
            make(attack="label_flip_10", dataset_fingerprint="b" * 64),
            "dataset_fingerprint dddddddddddd and bbbbbbbbbbbb",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(other: Record, said: str, shards: Shards) -> None:
    first, second = shards.add(ONE), shards.add(other)
    status, shown = shards.merge()
    assert status == 2
    assert (
        f"{first} and {second} have records of {ONE.case} at smoke scale that do not belong together: {said}" in shown
    )
    assert not shards.output.exists()
    assert shards.merge("--take-later")[0] == 0
    assert shards.records == [other]


def test_a_measured_record_counts_wherever_it_stands(shards: Shards) -> None:
    shards.add(ONE)
    shards.add(CRASHED)
    for _ in range(2):
        assert shards.merge()[0] == 0
        assert shards.records == [ONE]
        shards.files.reverse()


def test_of_two_measured_records_the_later_file_counts(shards: Shards) -> None:
    again = make(attack="label_flip_10", seconds=9.0)
    shards.add(ONE)
    shards.add(again)
    shards.merge()
    assert shards.records == [again]


def _measured(value: float, **fields: Any) -> Record:
    metrics = {**ONE.metrics, "accuracy_clean": Estimate(value, value, value, n=5)}
    return replace(make(attack="label_flip_10", **fields), metrics=metrics)


def test_one_machine_that_measured_other_numbers_contradicts_itself(shards: Shards) -> None:
    shards.add(_measured(0.75))
    shards.add(other := _measured(0.5))
    for _ in range(2):
        status, shown = shards.merge()
        assert status == 2
        assert "that do not belong together: accuracy_clean 0." in shown
        shards.files.reverse()
    assert shards.merge("--take-later")[0] == 0
    assert shards.records == [other]


def test_other_machines_may_measure_other_numbers(shards: Shards) -> None:
    elsewhere = {**ONE.environment, "processor": "another"}
    shards.add(_measured(0.75))
    shards.add(other := _measured(0.76, environment=elsewhere))
    assert shards.merge()[0] == 0
    assert shards.records == [other]


def test_no_case_of_the_output_is_lost(shards: Shards) -> None:
    shards.add(ONE)
    store = ResultsFile(shards.output)
    store.append(TWO)
    status, shown = shards.merge()
    assert status == 2
    assert f"{shards.output}: it holds 1 case ({TWO.case}) that would be lost" in shown
    assert store.records() == [TWO]
    shards.files.append(shards.output)
    assert shards.merge()[0] == 0
    # As often as one likes.
    shards.files.remove(shards.output)
    store.remove({TWO.key})
    assert shards.merge()[0] == 0


def test_files_whose_open_cases_are_not_known_are_named(shards: Shards) -> None:
    shards.add(ONE)
    unknown = shards.add(TWO, pending=None)
    status, shown = shards.merge()
    assert status == 0
    assert f"{unknown}: there is no list of open cases beside it" in shown
    # Nor is the merged run known to be complete.
    assert Pending(shards.output).keys() is None


def test_different_versions_are_said(shards: Shards) -> None:
    for record, source in ((ONE, "aaa"), (TWO, "bbb")):
        shards.add(make(attack=record.attack, environment={"source": source}))
    status, shown = shards.merge()
    assert status == 0
    assert (
        f"different versions of gradshape measured these files: aaa: {shards.files[0]}; bbb: {shards.files[1]}" in shown
    )


def test_lines_that_are_no_records_are_said(shards: Shards) -> None:
    path = shards.add(ONE)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"schema": 99}) + "\n")
    assert f"1 line is left out and kept as it is: {path}:2" in shards.merge()[1]


def test_a_file_that_is_not_there_is_an_error(shards: Shards) -> None:
    shards.files.append(shards.folder / "shard-9" / "results.jsonl")
    status, shown = shards.merge()
    assert status == 2
    assert "no such results file" in shown
