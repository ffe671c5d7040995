"""No file makes its reader take more memory or time than its format asks for, or touch anything outside."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from gradshape.data import DataError, load
from gradshape.data._files import read_bytes
from gradshape.data._sets import cifar10
from tests.data import publish
from tests.reliability.bombs import BOMBS

_SECONDS = 5.0


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is limited as Linux limits it")
def test_bombs_are_refused_within_a_gibibyte_and_five_seconds(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.reliability.bombs", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    told = [json.loads(line) for line in run.stdout.splitlines()]
    assert [name for name, _, _ in told] == list(BOMBS)
    assert [(name, became) for name, _, became in told if not became.startswith("DataError: ")] == []
    assert [(name, seconds) for name, seconds, _ in told if seconds > _SECONDS] == []


def test_an_archive_chooses_neither_where_nor_what_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "cifar10"
    escaping = {f"../../{name}": content for name, content in publish.cifar_batches(batch=1).items()}
    publish.tgz(folder / "cifar-10-binary.tar.gz", {"../../escape": b"x", "/tmp/gradshape-escape": b"x", **escaping})
    cifar10.unpack(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cifar10"]
    assert not Path("/tmp/gradshape-escape").exists()
    assert {path.name for path in (folder / "cifar-10-batches-bin").iterdir()} == set(publish.cifar_batches(batch=1))


def test_a_tilde_of_nobody_is_a_name_like_others() -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load("~nobody-at-all/mine.npz")


def test_a_full_gzip_file_with_padding_and_several_streams_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.gz"
    path.write_bytes(gzip.compress(b"one") + bytes(99) + gzip.compress(b"two") + bytes(700))
    assert read_bytes(path, "rows", most=6) == b"onetwo"
    assert len(read_bytes(path, "rows", most=4)) == 5
    path.write_bytes(gzip.compress(b"one") + b"garbage")
    with pytest.raises(DataError, match="is truncated or damaged"):
        read_bytes(path, "rows", most=6)
