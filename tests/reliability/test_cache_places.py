"""Whatever lies where an entry, a lock or the whole cache is to be: nobody waits for it, and no job fails."""

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from gradshape_bench.cache import Cache, Fault, files
from gradshape_bench.jobs import Finished
from tests.reliability.cache_calls import JOBS, work
from tests.reliability.cache_sample import KEY, MASK, kept, same


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.mkdir()


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _link(path: Path) -> None:
    path.symlink_to(kept(path.parent.parent / "elsewhere", ~MASK))


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _socket(path: Path) -> None:
    # By a short name: that of a socket has to be.
    with socket.socket(socket.AF_UNIX) as bound:
        here = os.open(path.parent, os.O_RDONLY)
        before = os.getcwd()
        try:
            os.fchdir(here)
            bound.bind(path.name[-60:])
            Path(path.name[-60:]).rename(path.name)
        finally:
            os.chdir(before)
            os.close(here)


PLACES: list[Callable[[Path], None]] = [_pipe, _folder, _loop, _link, _device, _socket]


@pytest.mark.parametrize("put", PLACES)
def test_what_is_no_file_is_no_entry(put: Callable[[Path], None], tmp_path: Path) -> None:
    path = kept(tmp_path / "cache", MASK)
    path.unlink()
    put(path)
    cache = Cache(tmp_path / "cache")
    assert cache.get(KEY) is None
    assert cache.faults.count(Fault.UNREADABLE) == 1


@pytest.mark.parametrize("put", [place for place in PLACES if place is not _folder])
def test_what_is_no_file_gives_way_to_an_entry(put: Callable[[Path], None], tmp_path: Path) -> None:
    path = kept(tmp_path / "cache", MASK)
    path.unlink()
    put(path)
    found = Cache(kept(tmp_path / "cache", MASK).parent.parent).get(KEY)
    assert found is not None
    assert same(found.result, MASK)


def test_a_folder_does_not_give_way(tmp_path: Path) -> None:
    path = kept(tmp_path, MASK)
    path.unlink()
    path.mkdir()
    cache = Cache(tmp_path)
    cache.put(KEY, Finished(MASK, 1.0))
    assert cache.faults.count(Fault.UNKEPT) == 1
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("put", PLACES)
def test_what_is_no_file_may_stand_for_a_lock(put: Callable[[Path], None], tmp_path: Path) -> None:
    name = next(iter(JOBS))
    (tmp_path / "locks").mkdir()
    put(tmp_path / "locks" / f"{name[:32]}.lock")
    assert work(Cache(tmp_path)) == len(JOBS)
    assert work(Cache(tmp_path)) == 0


@pytest.mark.parametrize("place", ["", "tmp", "locks", "ab", "00"])
def test_a_file_in_place_of_a_folder_fails_no_job(place: str, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    if place:
        (tmp_path / "cache" / place).write_text("")
    else:
        (tmp_path / "cache").rmdir()
        (tmp_path / "cache").write_text("")
    cache = Cache(tmp_path / "cache")
    assert work(cache) == len(JOBS)
    assert (cache.faults.line() is None) == (place == "ab")


def _refuse(path: object, flags: int = os.O_WRONLY, *arguments: object, **named: object) -> NoReturn:
    raise OSError(errno.EROFS, "Read-only file system")


def test_a_folder_that_can_only_be_read_gives_its_entries_and_fails_no_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(Cache(tmp_path))
    opened = os.open

    def only_reading(path: str, flags: int, *arguments: int, **named: int) -> int:
        return opened(path, flags, *arguments, **named) if flags & os.O_ACCMODE == os.O_RDONLY else _refuse(path)

    monkeypatch.setattr(os, "open", only_reading)
    for name in ("mkdir", "replace", "unlink", "utime"):
        monkeypatch.setattr(os, name, _refuse)
    cache = Cache(tmp_path)
    assert work(cache) == 0
    cache.put(KEY, Finished(MASK, 1.0))
    assert "1 finished job could not be kept (first:" in str(cache.faults.line())
    assert "Read-only file system" in str(cache.faults.line())
    assert cache.faults.count(Fault.UNLOCKED) == len(JOBS)


def test_an_entry_without_permission_is_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kept(tmp_path, MASK)

    def denied(*arguments: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    cache = Cache(tmp_path)
    assert cache.get(KEY) is None
    assert cache.faults.line() == (
        f"cache: 1 entry could not be read and was computed again (first: {path}: Permission denied)"
    )


def test_systems_without_flags_for_opening_do_not_wait_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CAREFULLY", 0)
    path = kept(tmp_path, MASK)
    path.unlink()
    _pipe(path)
    assert Cache(tmp_path).get(KEY) is None


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, NotImplementedError])
def test_without_locks_the_jobs_run(
    error: int | type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(file: int, operation: int) -> NoReturn:
        raise OSError(error, os.strerror(error)) if isinstance(error, int) else error("no locks here")

    monkeypatch.setattr(fcntl, "flock", missing)
    cache = Cache(tmp_path)
    assert work(cache) == len(JOBS)
    assert work(Cache(tmp_path)) == 0
    assert cache.faults.count(Fault.UNLOCKED) == len(JOBS)
    assert "3 locks could not be had" in str(cache.faults.line())


def test_entries_can_be_read_by_whom_the_user_lets(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        assert stat.S_IMODE(kept(tmp_path, MASK).stat().st_mode) == 0o640
    finally:
        os.umask(mask)


def _left(folder: Path, name: str, hours: float) -> Path:
    """A file that a run began to write so long ago."""
    path = folder / "tmp" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"gradshape")
    before = path.stat().st_mtime - 3600 * hours
    os.utime(path, (before, before))
    return path


def test_what_killed_runs_left_is_removed_once_it_is_old(tmp_path: Path) -> None:
    old, new = _left(tmp_path, "old.tmp", 1.1), _left(tmp_path, "new.tmp", 0.9)
    cache = Cache(tmp_path)
    cache.put(KEY, Finished(MASK, 1.0))
    assert not old.exists()
    assert new.exists()


def test_a_session_sweeps_once(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put(KEY, Finished(MASK, 1.0))
    old = _left(tmp_path, "old.tmp", 2)
    cache.put(KEY, Finished(MASK, 1.0))
    assert old.exists()


def test_sweeping_stops_at_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = _left(tmp_path, "old.tmp", 2)
    folder = tmp_path / "tmp" / "folder"
    folder.mkdir()
    os.utime(folder, (0, 0))
    (tmp_path / "tmp" / "loop").symlink_to("loop")
    monkeypatch.setattr(os, "unlink", _refuse)
    cache = Cache(tmp_path)
    cache.put(KEY, Finished(MASK, 1.0))
    assert cache.get(KEY) is not None
    assert cache.faults.line() is None
    assert old.exists()


def test_whoever_writes_for_hours_loses_the_entry_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = os.write, []

    def slow(file: int, content: bytes) -> int:
        written.append(write(file, content))
        for path in (tmp_path / "tmp").iterdir():
            path.unlink()
        return written[-1]

    cache = Cache(tmp_path)
    with monkeypatch.context() as slowly:
        slowly.setattr(os, "write", slow)
        cache.put(KEY, Finished(MASK, 1.0))
    assert written
    assert cache.faults.count(Fault.UNKEPT) == 1
    assert cache.get(KEY) is None
