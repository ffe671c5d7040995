from pathlib import Path

import numpy as np
import pytest

from gradshape.data import DataError, DataUnavailable, load, source
from gradshape.data._sets import cifar10
from tests.data import publish


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for small files, and a source that expects as few rows."""
    monkeypatch.setitem(source._registry, "cifar10", publish.smaller(cifar10.CIFAR10, cifar10.read, batch=4))
    return tmp_path


def lay_out(root: Path) -> Path:
    folder = root / "cifar10" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for name, content in publish.cifar_batches().items():
        (folder / name).write_bytes(content)
    return folder


def test_rows_are_a_label_and_three_channels(root: Path) -> None:
    folder = lay_out(root)
    dataset = load("cifar10", root=root, download=False)
    assert dataset.train.x.shape == (20, 3, 32, 32)
    assert dataset.test.x.shape == (4, 3, 32, 32)
    row = np.fromfile(folder / "data_batch_2.bin", dtype=np.uint8)[:3073]
    assert dataset.train.y[4] == row[0]
    assert np.array_equal(dataset.train.x[4, 1, 2].numpy(), row[1 + 1024 + 64 :][:32] / np.float32(255))


def test_archive_is_unpacked_once(root: Path) -> None:
    archive = root / "cifar10" / "cifar-10-binary.tar.gz"
    members = {f"cifar-10-batches-bin/{name}": content for name, content in publish.cifar_batches().items()}
    publish.tgz(archive, {"cifar-10-batches-bin/readme.html": b"<html>", "../../escape": b"x", **members})
    first = load("cifar10", root=root, download=False)
    folder = root / "cifar10" / "cifar-10-batches-bin"
    assert sorted(path.name for path in folder.iterdir()) == sorted(publish.cifar_batches())
    assert not (root.parent / "escape").exists()
    archive.unlink()
    assert load("cifar10", root=root, download=False).fingerprint == first.fingerprint


def test_unpacking_leaves_what_is_there(root: Path) -> None:
    folder = lay_out(root)
    members = {f"cifar-10-batches-bin/{name}": bytes(4 * 3073) for name in publish.cifar_batches()}
    publish.tgz(root / "cifar10" / "cifar-10-binary.tar.gz", members)
    (folder / "test_batch.bin").unlink()
    dataset = load("cifar10", root=root, download=False)
    assert dataset.test.x.max() == 0
    assert dataset.train.x.max() > 0


def test_missing_batch_is_named(root: Path) -> None:
    (lay_out(root) / "data_batch_3.bin").unlink()
    with pytest.raises(DataUnavailable, match=r"cifar-10-binary\.tar\.gz"):
        load("cifar10", root=root, download=False)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(bytes(4 * 3073 - 1), "has 12,291 bytes: expected 4 rows of 3,073 bytes", id="too short"),
        pytest.param(bytes(5 * 3073), "has more than 12,292 bytes", id="too long"),
        pytest.param(b"\x0a" + bytes(4 * 3073 - 1), r"has a label 10: expected class ids 0\.\.9", id="label"),
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"<html>" * 99, "looks like a web page", id="HTML"),
    ],
)
def test_bad_batch_is_refused(root: Path, content: bytes, problem: str) -> None:
    path = lay_out(root) / "data_batch_5.bin"
    path.write_bytes(content)
    with pytest.raises(DataError, match=problem) as caught:
        load("cifar10", root=root, download=False)
    assert caught.value.path == path


def test_archive_that_is_a_web_page_is_refused(root: Path) -> None:
    (root / "cifar10").mkdir()
    (root / "cifar10" / "cifar-10-binary.tar.gz").write_bytes(b"<!doctype html>")
    with pytest.raises(DataError, match="looks like a web page"):
        load("cifar10", root=root, download=False)
    assert [path.name for path in (root / "cifar10").iterdir()] == ["cifar-10-binary.tar.gz"]
