import gzip
from pathlib import Path

import numpy as np
import pytest

from gradshape.data import DataError, load, source
from gradshape.data._sets import fashion_mnist
from tests.data import publish

IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small files, and sources that expect as few rows."""
    publish.fashion(tmp_path / "fashion_mnist")
    for entry, read, extra in (
        (fashion_mnist.FASHION_MNIST, fashion_mnist.read, {}),
        (fashion_mnist.FASHION_MNIST_34, fashion_mnist.read_34, {"per_class": 3}),
    ):
        small = publish.smaller(entry, read, train=40, test=20, **extra)
        monkeypatch.setitem(source._registry, entry.name, small)
    return tmp_path


def test_pixels_become_fractions_and_labels_stay(root: Path) -> None:
    arrays = publish.fashion(root / "fashion_mnist")
    dataset = load("fashion_mnist", root=root, download=False)
    expected = arrays["train-images-idx3-ubyte"][:, None].astype(np.float32) / np.float32(255)
    assert np.array_equal(dataset.train.x.numpy(), expected)
    assert dataset.train.y.tolist() == [row % 10 for row in range(40)]
    assert dataset.test.x.shape == (20, 1, 28, 28)


def test_unzipped_files_are_read_too(root: Path) -> None:
    reference = load("fashion_mnist", root=root, download=False)
    for path in (root / "fashion_mnist").glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert load("fashion_mnist", root=root, download=False).fingerprint == reference.fingerprint


def test_34_keeps_the_first_rows_of_dress_and_coat_in_order(root: Path) -> None:
    whole = load("fashion_mnist", root=root, download=False)
    dataset = load("fashion_mnist_34", root=root, download=False)
    # Classes follow each other, so dresses are rows 3, 13, 23, (33) and coats 4, 14, 24, (34).
    assert dataset.train.x.equal(whole.train.x[[3, 4, 13, 14, 23, 24]])
    assert dataset.train.y.tolist() == [0, 1, 0, 1, 0, 1]
    assert dataset.test.y.tolist() == [0, 1, 0, 1]
    assert dataset.num_classes == 2


def test_other_pairs_keep_all_rows(root: Path) -> None:
    dataset = load("fashion_mnist_43", root=root, download=False)
    assert dataset.train.y.tolist() == [1, 0] * 4


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(publish.idx(np.zeros((40,), np.uint8)), "has magic number 2049: expected", id="magic number"),
        pytest.param(publish.idx(np.zeros((39, 28, 28), np.uint8)), r"has shape \(39, 28, 28\)", id="rows"),
        pytest.param(publish.idx(np.zeros((40, 28, 14), np.uint8)), r"has shape \(40, 28, 14\)", id="width"),
        pytest.param(publish.idx(np.zeros((40, 28, 28), np.uint8))[:-1], "has 31,359 bytes", id="too short"),
        pytest.param(publish.idx(np.zeros((40, 28, 28), np.uint8)) + b"x", "has more than 31,360 bytes", id="too long"),
        pytest.param(b"\0\0", "has 2 bytes: expected an IDX file", id="no header"),
        pytest.param(b"", "has 0 bytes: expected an IDX file", id="nothing zipped"),
    ],
)
def test_bad_images_are_refused(root: Path, content: bytes, problem: str) -> None:
    path = root / "fashion_mnist" / IMAGES
    path.write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=problem) as caught:
        load("fashion_mnist", root=root, download=False)
    assert caught.value.path == path


def test_bad_label_is_refused(root: Path) -> None:
    labels = np.zeros(40, np.uint8)
    labels[7] = 10
    (root / "fashion_mnist" / LABELS).write_bytes(gzip.compress(publish.idx(labels)))
    with pytest.raises(DataError, match=r"has a label 10: expected class ids 0\.\.9"):
        load("fashion_mnist", root=root, download=False)


def test_truncated_file_is_refused(root: Path) -> None:
    path = root / "fashion_mnist" / IMAGES
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=f"{IMAGES} is truncated or damaged"):
        load("fashion_mnist_34", root=root, download=False)
