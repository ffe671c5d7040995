"""Whatever a user's file holds, its reader returns rows or raises the error that it documents, in bounded time."""

import contextlib
import os
import random
import time
from pathlib import Path

import pytest

from gradshape.data import DataError
from tests.reliability.files import EDITS, READERS, Reader, headers, zip_layer

# Together 10,000.
_EACH = 800
_HEADERS = 1200
_SECONDS = 5.0


def attempt(reader: Reader, path: Path, content: bytes, folder: Path) -> bool:
    """Whether content is read; anything but rows and ``DataError`` is raised."""
    path.write_bytes(content)
    said = None
    began = time.thread_time()
    try:
        reader.read(folder)
    except DataError as error:
        said = str(error)
    assert time.thread_time() - began < _SECONDS
    assert said is None or (str(folder) in said and len(said) < 1000)
    return said is None


@pytest.mark.parametrize("name", READERS)
def test_malformed_files_end_in_rows_or_the_documented_error(name: str, tmp_path: Path) -> None:
    reader, draw = READERS[name], random.Random(f"malformed {name}")
    path = reader.lay_out(tmp_path)
    assert attempt(reader, path, reader.valid, tmp_path)
    refused = 0
    for number in range(_EACH):
        if name == "cifar-archive":
            for unpacked in (tmp_path / "cifar-10-batches-bin").glob("*"):
                unpacked.unlink()
        content = reader.malformed(draw)
        try:
            refused += not attempt(reader, path, content, tmp_path)
        except Exception as error:
            raise AssertionError(f"malformed file {number}, {content[:2000]!r}") from error
    # Some edits, as of a pixel, leave a valid file.
    assert refused > _EACH / 10


def test_whatever_an_array_declares_ends_in_rows_or_the_documented_error(tmp_path: Path) -> None:
    reader, draw = READERS["npz"], random.Random("headers")
    path = reader.lay_out(tmp_path)
    arrays = headers(draw)
    layers = [zip_layer(f"{name}.npy") for name in ("x_train", "y_train", "x_test", "y_test")]
    for number in range(_HEADERS):
        content = next(arrays)
        if draw.random() < 0.2:
            content = draw.choice(EDITS)(draw, content)
        whole = draw.choice(layers).wrap(reader.valid, content)
        try:
            attempt(reader, path, whole, tmp_path)
        except Exception as error:
            raise AssertionError(f"array {number}, {content[:2000]!r}") from error


def test_there_are_ten_thousand() -> None:
    assert len(READERS) * _EACH + _HEADERS >= 10_000


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_refused_at_once(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    path = reader.lay_out(tmp_path)
    for make in (os.mkfifo, Path.mkdir, lambda at: Path(at).symlink_to("/dev/zero")):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        make(path)
        with pytest.raises(DataError, match="cannot be read"):
            reader.read(tmp_path)
        path.rmdir() if path.is_dir() else path.unlink()
