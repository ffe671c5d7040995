"""A results file against a model of it: a list of lines, of which the latest of a case counts."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gradshape_bench.records.record import Record
from gradshape_bench.records.store import ResultsFile, locked
from tests.bench.sample import make

CASES = [make(attack=f"label_flip_{number}", thresholds=()) for number in range(4)]
JUNK = [b"{", b'{"schema": 99, "case": "of the future"}', b"\xff\xfe", b"[" * 3000, b"torn", b"7"]


class Store(RuleBasedStateMachine):
    """Two writers, kills, and what others put into the file."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "results.jsonl"
        self.writers = [ResultsFile(path), ResultsFile(path)]
        self.path = path
        # Each line without its end, and whether the last one has an end.
        self.lines: list[bytes] = []
        self.ended = True
        self.known: dict[bytes, Record] = {}

    @rule(writer=st.integers(0, 1), case=st.sampled_from(CASES), seconds=st.integers(0, 9))
    def append(self, writer: int, case: Record, seconds: int) -> None:
        record = replace(case, seconds=float(seconds))
        self.writers[writer].append(record)
        line = record.to_json().encode()
        self.known[line] = record
        self.lines.append(line)
        self.ended = True

    @rule(junk=st.sampled_from(JUNK))
    def others_write(self, junk: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(junk + b"\n" if self.ended else b"\n" + junk + b"\n")
        self.lines.append(junk)
        self.ended = True

    @precondition(lambda self: self.lines and self.ended)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        """A run dies while it writes the last line."""
        written = data.draw(st.integers(0, len(self.lines[-1])))
        os.truncate(self.path, self.path.stat().st_size - 1 - len(self.lines[-1]) + written)
        self.lines[-1:] = [self.lines[-1][:written]] if written else []
        self.ended = not written

    @rule(writer=st.integers(0, 1))
    def compact(self, writer: int) -> None:
        contents = self.writers[writer].compact()
        assert contents == self.writers[writer].read()
        if self.path.exists():
            latest = self.latest
            self.lines = [line for line in self.lines if line not in self.known]
            self.lines += [latest[key].to_json().encode() for key in sorted(latest)]
            # A file that is compact already is not written again.
            self.ended = self.path.read_bytes()[-1:] in (b"\n", b"")

    @rule()
    def reopen(self) -> None:
        self.writers = [ResultsFile(self.path), ResultsFile(self.path)]

    @property
    def latest(self) -> Mapping[tuple[str, str], Record]:
        return {self.known[line].key: self.known[line] for line in self.lines if line in self.known}

    @invariant()
    def the_file_holds_the_lines(self) -> None:
        text = b"\n".join(self.lines) + (b"\n" if self.ended and self.lines else b"")
        assert (self.path.read_bytes() if self.path.exists() else b"") == text

    @invariant()
    def the_latest_of_every_case_is_read(self) -> None:
        contents = self.writers[0].read()
        assert contents.records == [self.latest[key] for key in sorted(self.latest)]
        junk = [number for number, line in enumerate(self.lines, start=1) if line not in self.known]
        assert [left.number for left in contents.left_out] == junk

    def teardown(self) -> None:
        assert [path.name for path in self.path.parent.iterdir() if path.name.endswith(".tmp")] == []
        self.folder.cleanup()


TestStore = Store.TestCase
TestStore.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def _session(path: Path, line: str, name: str) -> None:
    """What each of two processes does."""
    store, record = ResultsFile(path), Record.from_json(line)
    for turn in range(30):
        store.append(replace(record, case=f"{name}{turn % 10}", seconds=float(turn)))
        store.append(replace(record, case="both", seconds=float(turn)))
        if turn % 5 == 4:
            store.compact()


@pytest.mark.usefixtures("forked_workers")
def test_two_sessions_that_append_and_compact_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text("of another version\n")
    # Records far longer than what the system writes in one piece.
    line = make(reason="x" * 100_000).to_json()
    context = multiprocessing.get_context("forkserver")
    runs = [context.Process(target=_session, args=(path, line, name)) for name in "ab"]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0, 0]
    ResultsFile(path).compact()
    contents = ResultsFile(path).read()
    assert {record.case: record.seconds for record in contents.records} == {
        "both": 29.0,
        **{f"{session}{case}": 20.0 + case for session in "ab" for case in range(10)},
    }
    assert path.read_text().splitlines()[0] == "of another version"
    assert len(contents.left_out) == 1


def test_a_lock_that_is_never_released_is_an_error_in_time(tmp_path: Path) -> None:
    store = ResultsFile(tmp_path / "results.jsonl")
    holder = "import sys, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print(flush=True); input()"
    command = [sys.executable, "-c", holder, str(tmp_path / "results.jsonl.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(TimeoutError, match=r"another run has held it for 0\.1 seconds.*results\.jsonl\.lock"):
            store.append(make(), patience=0.1)
        other.communicate(b"\n")
    store.append(make(), patience=100)
    assert store.records() == [make()]


@pytest.mark.parametrize("error", [OSError(38, "no flock"), OSError(95, "no flock"), OSError(37, "no locks")])
def test_a_disk_without_locks_keeps_records_and_is_not_compacted(
    error: OSError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(file: int, operation: int) -> None:
        raise error

    monkeypatch.setattr("fcntl.flock", flock)
    store = ResultsFile(tmp_path / "results.jsonl")
    for seconds in (1.0, 2.0):
        store.append(make(seconds=seconds))
    store.compact()
    assert store.records() == [make(seconds=2.0)]
    with locked(store.path) as alone:
        assert store.path.read_bytes().count(b"\n") == (1 if alone else 2)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "results.jsonl"
    link.symlink_to(tmp_path / "elsewhere" / "real.jsonl")
    store = ResultsFile(link)
    for seconds in (1.0, 2.0):
        store.append(make(seconds=seconds))
    store.compact()
    assert link.is_symlink()
    assert ResultsFile(tmp_path / "elsewhere" / "real.jsonl").records() == [make(seconds=2.0)]


def test_files_that_killed_runs_left_are_swept_once_they_are_old(tmp_path: Path) -> None:
    store = ResultsFile(tmp_path / "results.jsonl")
    old, new = tmp_path / ".results.jsonl.1.tmp", tmp_path / ".results.jsonl.2.tmp"
    for path in (old, new):
        path.write_text("half")
    os.utime(old, (0, time.time() - 7200))
    for seconds in (1.0, 2.0):
        store.append(make(seconds=seconds))
    store.compact()
    assert not old.exists()
    assert new.exists()
