"""Waiting for the jobs of another process is told, and ends."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from gradshape_bench.cache import Claim, Fault, Faults, claims
from gradshape_bench.cache.claims import Claims


class Waiter:
    """Another process that wants a claim, with a clock of its own."""

    def __init__(self, folder: Path) -> None:
        self.now = 1e6
        self.told: list[str] = []
        self.faults = Faults()
        self._claims = Claims(folder, self.faults, self.told.append, clock=lambda: self.now)

    def after(self, seconds: float, name: str = "name") -> Claim | None:
        self.now += seconds
        return self._claims.take(name)


@pytest.fixture
def waiter(tmp_path: Path) -> Waiter:
    return Waiter(tmp_path / "locks")


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Claim]:
    """A claim that another process holds."""
    claim = Waiter(tmp_path / "locks").after(0)
    assert claim is not None
    yield claim
    claim.release()


def test_waiting_is_told_once_after_some_seconds(waiter: Waiter, held: Claim) -> None:
    assert [waiter.after(5), waiter.after(4.9)] == [None, None]
    assert waiter.told == []
    assert [waiter.after(5.2), waiter.after(20), waiter.after(1)] == [None] * 3
    (told,) = waiter.told
    assert f"process {os.getpid()} on {socket.gethostname()}" in told
    assert str(held.path) in told


def test_a_process_that_has_not_said_who_it_is_is_another_one(waiter: Waiter, held: Claim) -> None:
    held.path.write_bytes(b"")
    waiter.after(0)
    waiter.after(11)
    assert "waiting for jobs that another process does" in waiter.told[0]


def test_a_process_that_shows_life_is_waited_for(waiter: Waiter, held: Claim) -> None:
    for beat in range(50):
        assert waiter.after(100) is None
        os.utime(held.path, (beat, beat))
    assert waiter.faults.line() is None


def test_a_process_that_shows_none_is_not_waited_for(waiter: Waiter, held: Claim) -> None:
    assert [waiter.after(0), waiter.after(119)] == [None, None]
    claim = waiter.after(2)
    assert claim is not None
    claim.release()
    assert waiter.faults.count(Fault.UNLOCKED) == 1
    assert "its process gives no sign of life" in str(waiter.faults.line())
    assert Waiter(held.path.parent).after(0) is None


def test_a_claim_that_is_had_after_waiting_is_one_as_any(waiter: Waiter, held: Claim) -> None:
    waiter.after(0)
    held.release()
    claim = waiter.after(500)
    assert claim is not None
    assert claim.lock is not None
    assert Waiter(held.path.parent).after(0) is None
    claim.release()
    assert waiter.faults.line() is None


def _touched(path: Path) -> bool:
    before = path.stat().st_mtime_ns
    end = time.monotonic() + 300
    while path.stat().st_mtime_ns == before and time.monotonic() < end:
        time.sleep(0.001)
    return path.stat().st_mtime_ns != before


def _beating() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "gradshape-claims"]


def test_whoever_holds_claims_shows_life_in_one_thread_until_the_last_is_released(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_SIGN", 0.001)
    monkeypatch.setattr(claims, "_pulse", claims._Pulse())
    before = len(_beating())
    first, second = Waiter(tmp_path).after(0, "first"), Waiter(tmp_path).after(0, "second")
    assert first is not None
    assert second is not None
    assert _touched(first.path)
    assert _touched(second.path)
    assert len(_beating()) == before + 1
    first.release()
    assert _touched(second.path)
    second.release()
    end = time.monotonic() + 300
    while len(_beating()) > before and time.monotonic() < end:
        time.sleep(0.001)
    assert len(_beating()) == before


def test_a_process_that_can_have_no_thread_has_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(thread: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(claims, "_pulse", claims._Pulse())
    monkeypatch.setattr(threading.Thread, "start", exhausted)
    claim = Waiter(tmp_path).after(0)
    assert claim is not None
    claim.release()


def test_a_file_that_cannot_be_touched_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_SIGN", 0.001)
    monkeypatch.setattr(claims, "_pulse", claims._Pulse())
    taken = [Waiter(tmp_path).after(0, name) for name in ("gone", "here")]
    (tmp_path / "gone.lock").unlink()
    assert _touched(tmp_path / "here.lock")
    for claim in taken:
        assert claim is not None
        claim.release()
