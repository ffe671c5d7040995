import errno
import gzip
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pooch
import pytest

from gradshape.data import DataUnavailable, _storage, fetch, load, source
from gradshape.data.source import Source
from tests.data.publish import Server, serve, toy

CONTENT = bytes(range(256))
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(toy=CONTENT) as running:
        yield running


def offer(monkeypatch: pytest.MonkeyPatch, entry: Source) -> None:
    monkeypatch.setitem(source._registry, entry.name, entry)


def left(root: Path) -> set[str]:
    """Names of the files below ``root``, without locks, which may stay."""
    return {path.name for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_missing_file_is_downloaded_once(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, toy(f"{server.url}toy", MD5))
    dataset = load("toy", root=tmp_path)
    assert len(dataset.train) == 256
    assert load("toy", root=tmp_path).fingerprint == dataset.fingerprint
    assert server.requests == ["toy"]
    assert left(tmp_path) == {"toy.bin"}
    assert (tmp_path / "toy" / "toy.bin").read_bytes() == CONTENT


def test_fetch_says_where_it_lies(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, toy(f"{server.url}toy", MD5))
    assert fetch("toy", tmp_path) == tmp_path / "toy"


def test_found_file_is_used_whatever_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, toy("http://127.0.0.1:9/toy", MD5))
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "toy.bin").write_bytes(b"\0\1")
    assert len(load("toy", root=tmp_path).train) == 2


def test_root_comes_from_the_environment(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, toy(f"{server.url}toy", MD5))
    monkeypatch.setenv("GRADSHAPE_DATA", str(tmp_path))
    load("toy")
    assert left(tmp_path) == {"toy.bin"}


def test_root_is_the_users_cache_otherwise() -> None:
    assert _storage.data_root() == Path(pooch.os_cache("gradshape"))


def test_home_is_expanded() -> None:
    assert _storage.data_root("~/data") == Path.home() / "data"


@pytest.mark.parametrize("value", ["1", "true"])
def test_offline_by_environment(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    offer(monkeypatch, toy(f"{server.url}toy", MD5))
    monkeypatch.setenv("GRADSHAPE_OFFLINE", value)
    with pytest.raises(DataUnavailable, match="GRADSHAPE_OFFLINE is set, unset it first"):
        load("toy", root=tmp_path)
    assert server.requests == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["", "0"])
def test_not_offline_by_environment(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("GRADSHAPE_OFFLINE", value)
    assert not _storage.offline()


def test_download_false_names_set_place_and_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADSHAPE_DATA", str(tmp_path))
    with pytest.raises(DataUnavailable) as caught:
        load("cifar10", download=False)
    assert caught.value.name == "cifar10"
    assert caught.value.command == "python -m gradshape.data fetch cifar10"
    for part in ("'cifar10'", str(tmp_path / "cifar10"), "cifar-10-binary.tar.gz", caught.value.command):
        assert part in str(caught.value)


def test_command_fetches_into_the_root_that_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable) as caught:
        load("cifar10", root=tmp_path / "my data", download=False)
    assert caught.value.command == f"python -m gradshape.data fetch cifar10 --root '{tmp_path}/my data'"


@pytest.mark.parametrize(
    ("content", "announce", "problem"),
    [
        pytest.param(b"something else", 0, "expected", id="other hash"),
        pytest.param(b"<!DOCTYPE html>", 0, "looks like a web page", id="web page"),
        pytest.param(b"", 0, "is empty", id="nothing"),
        pytest.param(CONTENT[:100], 156, "downloading http://127.0.0.1:.* failed", id="connection lost"),
        pytest.param(None, 0, "404", id="not found"),
    ],
)
def test_bad_download_leaves_nothing(
    tmp_path: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes | None,
    announce: int,
    problem: str,
) -> None:
    offer(monkeypatch, toy(f"{server.url}toy", MD5))
    server.announce = announce
    server.content = {} if content is None else {"toy": content}
    with pytest.raises(DataUnavailable, match=problem):
        load("toy", root=tmp_path)
    assert left(tmp_path) == set()


def test_no_server_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, toy("http://127.0.0.1:9/toy", MD5))
    with pytest.raises(DataUnavailable, match=r"downloading http://127.0.0.1:9/toy to .* failed"):
        load("toy", root=tmp_path)
    assert left(tmp_path) == set()


def test_full_disk_leaves_nothing(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(self: Any, url: str, output_file: str, pooch: Any) -> None:
        Path(output_file).write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    offer(monkeypatch, toy(f"{server.url}toy", MD5))
    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", fill)
    with pytest.raises(DataUnavailable, match=r"No space left on device \(GRADSHAPE_DATA or --root choose another"):
        load("toy", root=tmp_path)
    assert left(tmp_path) == set()


def test_interrupted_download_leaves_nothing(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: Any, url: str, output_file: str, pooch: Any) -> None:
        Path(output_file).write_bytes(b"half of it")
        raise KeyboardInterrupt

    offer(monkeypatch, toy(f"{server.url}toy", MD5))
    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load("toy", root=tmp_path)
    assert left(tmp_path) == set()


def test_root_that_cannot_be_written_to_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(tmp_path))

    offer(monkeypatch, toy("http://127.0.0.1:9/toy", MD5))
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(DataUnavailable, match=r"Read-only file system: .*GRADSHAPE_DATA or --root choose another"):
        load("toy", root=tmp_path)


def test_root_that_is_a_file_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, toy("http://127.0.0.1:9/toy", MD5))
    (tmp_path / "root").touch()
    with pytest.raises(DataUnavailable, match="root"):
        load("toy", root=tmp_path / "root")


def test_rest_of_a_killed_download_is_no_obstacle(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, toy(f"{server.url}toy", MD5))
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "toy.bin.part").write_bytes(b"half of it, and longer than what will come" * 99)
    load("toy", root=tmp_path)
    assert left(tmp_path) == {"toy.bin"}


def test_processes_wait_for_each_other(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, toy(f"{server.url}toy", MD5))
    threads = [threading.Thread(target=load, args=("toy",), kwargs={"root": tmp_path}) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.requests == ["toy"]


def test_unknown_hash_is_recorded_and_checked_later(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, toy(f"{server.url}toy", None))
    load("toy", root=tmp_path)
    sidecar = tmp_path / "toy" / "toy.bin.sha256"
    assert sidecar.read_text() == f"{hashlib.sha256(CONTENT).hexdigest()}  toy.bin\n"

    (tmp_path / "toy" / "toy.bin").unlink()
    load("toy", root=tmp_path)
    (tmp_path / "toy" / "toy.bin").unlink()
    server.content["toy"] = CONTENT[::-1]
    with pytest.raises(DataUnavailable, match=r"has sha256 .*: expected 40aff2e9"):
        load("toy", root=tmp_path)
    assert left(tmp_path) == {"toy.bin.sha256"}


def test_damaged_archive_of_unknown_hash_is_not_recorded(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content["toy"] = gzip.compress(CONTENT)[:-5]
    offer(monkeypatch, toy(f"{server.url}toy", None, file="toy.tgz"))
    with pytest.raises(DataUnavailable, match="sent is no whole gzip file"):
        load("toy", root=tmp_path)
    assert left(tmp_path) == set()


def test_progress_is_shown_on_a_terminal_only(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(monkeypatch, toy(f"{server.url}toy", MD5))
    load("toy", root=tmp_path / "quiet")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    load("toy", root=tmp_path / "shown")
    assert "100%" in capsys.readouterr().err
