import os
import time
from pathlib import Path

import pytest
import torch

from gradshape_bench.cache import Cache, useless
from gradshape_bench.jobs import Finished

KEYS = [f"{place:02x}" * 32 for place in range(4)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    cache = Cache(tmp_path)
    for key in KEYS:
        cache.put(key, Finished(torch.tensor([True, False]), 0.1))
    return tmp_path


def entry(folder: Path, key: str) -> Path:
    return folder / key[:2] / f"{key}.job"


def found(folder: Path) -> dict[Path, str]:
    return {file.path: file.reason for file in useless(folder)}


def test_good_entries_are_of_use(folder: Path) -> None:
    assert found(folder) == {}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda good: b"", "it is no entry of this layout"),
        (lambda good: good[:-1], "its content is not what was stored"),
        (lambda good: good[:-1] + bytes([good[-1] ^ 1]), "its content is not what was stored"),
    ],
    ids=["empty", "cut off", "another byte"],
)
def test_damaged_entries_are_found_and_no_others(content: object, reason: str, folder: Path) -> None:
    path = entry(folder, KEYS[1])
    path.write_bytes(content(path.read_bytes()))  # type: ignore[operator]
    assert found(folder) == {path: reason}


def test_entries_that_changed_places_are_found(folder: Path) -> None:
    one, other = entry(folder, KEYS[0]), entry(folder, KEYS[1])
    other.write_bytes(one.read_bytes())
    assert list(found(folder)) == [other]


def test_temporary_files_are_found_once_nobody_can_be_writing_them(folder: Path) -> None:
    (folder / "tmp").mkdir(exist_ok=True)
    old, young = folder / "tmp" / "a.tmp", folder / "tmp" / "b.tmp"
    for path in (old, young):
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    assert list(found(folder)) == [old]


def test_a_folder_that_is_not_there_holds_nothing_useless(tmp_path: Path) -> None:
    assert found(tmp_path / "none") == {}
