"""Every call that touches results file, pages or list of open cases fails once, or is the last of a run that dies."""

import fcntl
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gradshape_bench.records.pending import Pending
from gradshape_bench.records.record import Record, Status
from gradshape_bench.records.store import ResultsFile
from gradshape_bench.reporter import RECORD_PROPERTY, RecordReporter
from gradshape_bench.speed import speed_plugin
from tests.bench.sample import make, unmeasured

RECORDS = [
    make(attack="label_flip_10"),
    unmeasured(Status.FAILED, "suites/attacks.py:3: ZeroDivisionError: division by zero", attack="label_flip_20"),
    make(attack="label_flip_30", defense="vanilla"),
]
EARLIER = [make(attack="label_flip_10", seconds=99.0), make(attack="label_flip_40")]
FOREIGN = '{"schema": 99, "case": "of the future"}'
PAGES = ("leaderboard.md",)


class Killed(BaseException):
    """The process died."""


class _Raw(io.FileIO):
    """An unbuffered file whose reads and writes are counted."""

    faults: "Faults"

    def write(self, data: Any) -> int:
        self.faults.count()
        return super().write(data)

    def readinto(self, buffer: Any) -> int:
        self.faults.count()
        return super().readinto(buffer)


class Faults:
    """Counts calls of the operating system that touch a folder; at one of them something happens.

    Args:
        folder: the folder.
        at: number of the call, from 1; 0 for none.
        error: what is raised there. If it is :class:`Killed`, every later call raises it, too.
        lasting: whether all later calls fail like this one.
    """

    def __init__(self, folder: Path, at: int, error: BaseException, *, lasting: bool = False) -> None:
        self.folder, self.at, self.error = str(folder), at, error
        self.lasting = lasting or isinstance(error, Killed)
        self.calls = 0

    def count(self) -> None:
        self.calls += 1
        if self.calls == self.at or (self.lasting and 0 < self.at < self.calls):
            raise self.error

    @contextmanager
    def happen(self) -> Iterator[None]:
        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def counting(target: Any, *arguments: Any, **named: Any) -> Any:
                unlocks = call is plain_flock and arguments[0] == fcntl.LOCK_UN
                if not unlocks and (isinstance(target, int) or str(target).startswith(self.folder)):
                    self.count()
                return call(target, *arguments, **named)

            return counting

        raw = type("_Counted", (_Raw,), {"faults": self})
        plain_open, plain_flock = io.open, fcntl.flock

        def opened(path: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
            if not str(path).startswith(self.folder):
                return plain_open(path, mode, *arguments, **named)
            self.count()
            if mode == "wb":
                return io.BufferedWriter(raw(path, "w"))
            return io.BufferedReader(raw(path)) if mode == "rb" else plain_open(path, mode, *arguments, **named)

        with pytest.MonkeyPatch.context() as patched:
            names = ("open", "write", "pread", "fsync", "replace", "unlink", "mkdir", "ftruncate")
            for name, module in [*((name, os) for name in names), ("flock", fcntl)]:
                patched.setattr(module, name, counted(getattr(module, name)))
            patched.setattr(io, "open", opened)
            yield


class Run:
    """A run of :data:`RECORDS` in a folder, without pytest around it."""

    def __init__(self, folder: Path) -> None:
        self.results = folder / "results.jsonl"
        self.session: Any = SimpleNamespace(shouldstop=False, shouldfail=False, exitstatus=pytest.ExitCode.OK)
        self.said: list[str] = []
        self.refused = False

    def go(self) -> "Run":
        reporter = RecordReporter(self.results, self.results.parent / "scratch")
        try:
            reporter.select({record.case: record.key for record in RECORDS})
        except pytest.UsageError:
            self.refused = True
            return self
        for record in RECORDS:
            report = pytest.TestReport(record.case, ("t.py", 1, "t"), {}, "passed", None, "call")
            report.user_properties = [(RECORD_PROPERTY, record.to_json())]
            reporter.pytest_runtest_logreport(report)
        reporter.pytest_sessionfinish(self.session, self.session.exitstatus)
        terminal: Any = SimpleNamespace(section=self.said.append, write_line=lambda line, **_: self.said.append(line))
        reporter.pytest_terminal_summary(terminal)
        return self

    @property
    def left(self) -> Mapping[str, Any]:
        """What lies in the folder at the end, but for what has been swept or locked."""
        names = ("results.jsonl", "results.pending.json", *PAGES)
        return {name: self.results.with_name(name).read_bytes() for name in names}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(_begin(tmp_path / "results") / "temporary"))
    return tmp_path / "results"


def _begin(folder: Path) -> Path:
    """Set the folder back to what earlier runs left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "temporary").mkdir(parents=True)
    (folder / "results.jsonl").write_text("\n".join([FOREIGN, *(record.to_json() for record in EARLIER)]) + "\n")
    Pending(folder / "results.jsonl").add([("smoke", "another case")])
    return folder


def _undisturbed(folder: Path) -> Mapping[str, Any]:
    left = Run(_begin(folder)).go().left
    _begin(folder)
    return left


def _check_said(run: Run) -> None:
    """Every record is in the results file, in the file that is named instead, or in the terminal; or it is said."""
    stored = {record.key: record for record in ResultsFile(run.results).records()}
    missing = [record for record in RECORDS if stored.get(record.key) != record]
    told = "\n".join(run.said)
    if missing:
        elsewhere = re.search(r"not stored in .*; see (\S+), and append it", told)
        lines = (Path(elsewhere[1]).read_text() if elsewhere else told).splitlines()
        assert {record.to_json() for record in missing} <= set(lines)
    assert (run.session.exitstatus == 0) == (" not " not in told and not missing)
    assert FOREIGN in run.results.read_text()
    assert EARLIER[1] in stored.values()


def test_no_single_fault_loses_a_record_or_ends_the_run(folder: Path) -> None:
    expected, number = _undisturbed(folder), 0
    while True:
        number += 1
        faults = Faults(folder, number, OSError(28, "No space left on device"))
        run = Run(_begin(folder))
        with faults.happen():
            run.go()
        if faults.calls < number:
            break
        if not run.refused:
            _check_said(run)
        assert Run(folder).go().left == expected, number
    assert number > 40
    assert run.left == expected


def test_a_disk_that_fails_from_some_call_on_loses_no_record(folder: Path) -> None:
    expected = _undisturbed(folder)
    # The temporary folder fails, too, so that the last resort is the terminal.
    for number in range(1, 60, 4):
        run = Run(_begin(folder))
        with Faults(folder, number, OSError(30, "Read-only file system"), lasting=True).happen():
            run.go()
        if not run.refused:
            _check_said(run)
        assert Run(folder).go().left == expected, number


def test_a_run_that_dies_at_any_call_leaves_what_the_next_one_goes_on_from(folder: Path) -> None:
    expected, number = _undisturbed(folder), 0
    while True:
        number += 1
        faults, run = Faults(folder, number, Killed()), Run(_begin(folder))
        try:
            with faults.happen():
                run.go()
            break
        except Killed:
            assert EARLIER[1] in ResultsFile(run.results).records()
            assert ("smoke", "another case") in (Pending(run.results).keys() or set())
        assert Run(folder).go().left == expected, number
    assert number > 40


def test_records_that_cannot_be_stored_go_to_a_file_that_is_named(folder: Path) -> None:
    run = Run(_begin(folder))
    plain_open = os.open

    def full(path: Any, *arguments: Any, **named: Any) -> int:
        if str(path) == str(run.results):
            raise OSError(28, "No space left on device", str(path))
        return plain_open(path, *arguments, **named)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "open", full)
        run.go()
    said = next(line for line in run.said if "not stored" in line)
    assert said.startswith(f"gradshape: 3 records are not stored in {run.results}: OSError: [Errno 28] No space left")
    kept = re.search(r"see (\S+),", said)
    assert kept is not None
    assert [Record.from_json(line) for line in Path(kept[1]).read_text().splitlines()] == RECORDS
    assert run.session.exitstatus == pytest.ExitCode.INTERNAL_ERROR
    assert {("smoke", record.case) for record in RECORDS} <= (Pending(run.results).keys() or set())


def test_what_is_left_out_is_one_line_of_the_summary(folder: Path) -> None:
    run = Run(folder).go()
    assert (
        f"gradshape: 1 line is left out and kept as it is: {run.results}:1 "
        "(schema 99: this version reads schemas (1, 2))" in run.said
    )
    assert run.session.exitstatus == 0


def test_selected_cases_without_a_record_are_named_and_no_success(folder: Path) -> None:
    run, reporter = Run(folder), RecordReporter(folder / "results.jsonl", folder / "scratch")
    reporter.select({f"t.py::test[{name}]": ("smoke", name) for name in ("first", "other")})
    reporter.pytest_sessionfinish(run.session, pytest.ExitCode.OK)
    terminal: Any = SimpleNamespace(write_line=lambda line, **_: run.said.append(line))
    reporter.pytest_terminal_summary(terminal)
    assert run.session.exitstatus == pytest.ExitCode.TESTS_FAILED
    assert run.said == ["gradshape: 2 selected cases have no record: first, other"]


def test_damaged_list_of_open_cases_is_said_before_anything_runs(folder: Path) -> None:
    Pending(folder / "results.jsonl").path.write_text(json.dumps([1]) + "[" * 100_000)
    with pytest.raises(pytest.UsageError, match=r"results\.pending\.json is no list of cases"):
        RecordReporter(folder / "results.jsonl", folder).select({"t.py::t": ("smoke", "a")})


def test_speed_results_that_cannot_be_stored_are_said() -> None:
    def write() -> str:
        raise OSError(28, "No space left on device")

    stash = pytest.Stash()
    measured: Any = SimpleNamespace(write=write, run=SimpleNamespace(judged=list))
    stash[speed_plugin._session] = measured
    session: Any = SimpleNamespace(config=SimpleNamespace(stash=stash), exitstatus=pytest.ExitCode.OK)
    reporter, said = speed_plugin._SpeedReporter(), list[str]()
    reporter.pytest_sessionfinish(session)
    reporter.pytest_terminal_summary(SimpleNamespace(section=said.append, write_line=said.append), session.config)
    assert said == ["speed", "speed: the results are not stored: OSError: [Errno 28] No space left on device"]
    assert session.exitstatus == pytest.ExitCode.INTERNAL_ERROR
