"""Two interrupts end any run, and no worker process outlives the run that started it."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.reliability.sessions import Server, descendants, runs, wait_for

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")

# Promised are 5; this machine may be busy.
SECONDS = 30.0


@pytest.mark.parametrize(
    ("way", "engine", "processors"),
    [
        ("stubborn", "threads", 1),
        ("stubborn", "threads", 2),
        ("deadlock", "threads", 1),
        ("loop", "processes", 1),
    ],
)
def test_two_interrupts_end_a_run_that_never_returns(
    way: str, engine: str, processors: int, server: Server, tmp_path: Path
) -> None:
    attacks = f"[LabelFlip(0.1), Faulty(0.1, way={way!r})]"
    session = server.start(tmp_path / "run", attacks, "--engine", engine, processors=processors)
    session.went(way)
    workers = descendants(session.pid)
    # Jobs of the second case may have begun before the first case was recorded.
    wait_for(lambda: "label_flip_10" in session.records or None, lambda: session.output)
    session.interrupt()
    # A run in native code cannot say that it has heard.
    patience = time.monotonic() + 1.0
    while "another Ctrl-C ends the run" not in session.output and time.monotonic() < patience:
        time.sleep(0.05)
    began = time.monotonic()
    if session.poll() is None:
        session.interrupt()
        session.wait()
    assert time.monotonic() - began < SECONDS
    assert session.records["label_flip_10"]["status"] == "ok"
    assert list(session.records) == ["label_flip_10"]
    wait_for(lambda: None if any(runs(pid, "spawn_main") for pid in workers) else True)


def test_the_first_interrupt_keeps_what_is_finished_and_writes_the_pages(server: Server, tmp_path: Path) -> None:
    session = server.start(tmp_path / "run", "[LabelFlip(0.1), Faulty(0.1, way='loop')]", processors=1)
    session.went("loop")
    session.interrupt()
    assert session.wait() == pytest.ExitCode.INTERRUPTED
    assert session.records["label_flip_10"]["status"] == "ok"
    [page] = [page.read_text(encoding="utf-8") for page in (session.folder / "leaderboard").glob("*two_moons*")]
    assert "label_flip_10" in page
    assert "another Ctrl-C ends the run" in session.output
    assert not (session.folder / "results.running").exists()


def test_workers_end_with_a_run_that_is_killed_and_the_next_one_names_its_job(server: Server, tmp_path: Path) -> None:
    session = server.start(tmp_path / "run", "[Faulty(0.1, way='stop')]", "--engine", "processes", processors=1)
    # Stopped, it cannot see for itself that its parent is gone.
    [worker] = session.went("stop")
    os.kill(session.pid, signal.SIGKILL)
    assert session.wait() == -signal.SIGKILL
    wait_for(lambda: None if runs(worker, "spawn_main") else True)
    after = server.start(session.folder, "[LabelFlip(0.1)]")
    assert after.wait() == 0, after.output
    at = "two_moons-lr-stop_10-vanilla; crafting stop_10 (seed 0) on two_moons"
    assert f"an earlier run died while it ran {at}" in after.output
    assert not (session.folder / "results.running").exists()


def test_a_job_that_ends_a_serial_run_is_named_by_the_next(server: Server, tmp_path: Path) -> None:
    session = server.start(tmp_path / "run", "[Faulty(0.1, way='segfault')]", processors=1)
    assert session.wait() == -signal.SIGSEGV
    assert "in craft" in session.output
    after = server.start(session.folder, "[LabelFlip(0.1)]")
    assert after.wait() == 0, after.output
    assert "an earlier run died while it ran two_moons-lr-segfault_10-vanilla; crafting segfault_10" in after.output
