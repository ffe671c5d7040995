"""What the scheduler does where finished jobs are damaged or cannot be kept."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.bench.schedule_sample import case, metrics, scheduler
from tests.bench.spy import Spy


def _truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


def _empty(content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("damage", [_truncate, _flip, _empty])
def test_damaged_entry_is_reported_and_done_again_alone(
    damage: Callable[[bytes], bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = metrics([case()], tmp_path)
    path = min(tmp_path.rglob("*.job"))
    path.write_bytes(damage(path.read_bytes()))
    engine = Spy()
    again = scheduler([case()], tmp_path, engine).measure(case()).measurement.metrics
    assert f"1 damaged entry was computed again: {path}: " in caplog.text
    assert again == found[case().id]
    assert engine.keys == [path.stem]


def test_damaged_entry_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    metrics([case()], tmp_path)
    path = min(tmp_path.rglob("*.job"))
    path.write_bytes(b"")
    metrics([case()], tmp_path)
    caplog.clear()
    metrics([case()], tmp_path)
    assert caplog.text == ""


def test_full_disk_is_reported_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = metrics([case()], tmp_path / "whole")

    def full(*arguments: Any, **named: Any) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    engine = Spy()
    outcome = scheduler([case()], tmp_path / "full", engine).measure(case())
    assert "No space left on device" in caplog.text
    assert outcome.measurement.metrics == expected[case().id]
    assert len(engine.keys) == len(set(engine.keys))
