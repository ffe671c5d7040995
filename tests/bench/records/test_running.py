"""What a process that dies leaves of what it was running."""

import os
import socket
from pathlib import Path

import pytest

from gradshape_bench.records.running import Remains, Running, _machine


def test_what_runs_is_on_disk_and_what_has_run_is_not(tmp_path: Path) -> None:
    running = Running(tmp_path / "results.jsonl")
    running.note("a_case", ["crafting a", "training b"])
    assert [path.stem for path in running.folder.iterdir()] == [f"{_machine()}-{os.getpid()}"]
    # This process lives.
    assert running.collect() == []
    running.note(None, [])
    [mine] = running.folder.iterdir()
    assert mine.read_bytes() == b""
    running.close()
    assert not running.folder.exists()


def test_what_a_dead_process_ran_is_found_once(tmp_path: Path) -> None:
    running = Running(tmp_path / "results.jsonl")
    running.note("a_case", ["crafting a", "training b"])
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    [mine] = running.folder.iterdir()
    mine.rename(running.folder / f"{_machine()}-{child}.json")
    [remains] = running.collect()
    assert remains == Remains("a_case", ("crafting a", "training b"))
    assert str(remains) == "a_case; crafting a; training b"
    assert running.collect() == []
    assert not running.folder.exists()


def test_who_knows_that_a_process_died_asks_for_its_case(tmp_path: Path) -> None:
    running = Running(tmp_path / "results.jsonl")
    running.note("a_case", ["crafting a"])
    assert running.collect("another_case") == []
    assert running.collect("a_case") == [Remains("a_case", ("crafting a",))]


def test_nothing_is_said_of_processes_on_other_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(tmp_path / "results.jsonl")
    running.note("a_case", ["crafting a"])
    [mine] = running.folder.iterdir()
    # There, this process is not to be found.
    monkeypatch.setattr(os, "kill", lambda pid, signal: (_ for _ in ()).throw(ProcessLookupError))
    monkeypatch.setattr(socket, "gethostname", lambda: "another [*]-machine")
    other = Running(tmp_path / "results.jsonl")
    assert other.collect() == other.collect("a_case") == []
    other.note("a_case", ["training b"])
    other.close()
    assert list(running.folder.iterdir()) == [mine]
    monkeypatch.undo()
    assert running.collect("a_case") == [Remains("a_case", ("crafting a",))]


def test_half_a_file_says_nothing(tmp_path: Path) -> None:
    running = Running(tmp_path / "results.jsonl")
    for name, text in (("a_file", '{"case"'), ("b_file", "[]"), ("c_file", '{"case": null, "jobs": 3}')):
        running.folder.mkdir(exist_ok=True)
        (running.folder / f"{_machine()}-{name}.json").write_text(text, encoding="utf-8")
    assert running.collect("a_case") == []


def test_nothing_is_noted_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "results.running").write_text("not a folder", encoding="utf-8")
    running = Running(tmp_path / "results.jsonl")
    running.note("a_case", ["crafting a"])
    running.note(None, [])
    running.close()
    assert running.collect() == []
