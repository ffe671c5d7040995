"""The real files, where ``GRADSHAPE_DATA`` has them."""

import gzip
import hashlib
import os
from pathlib import Path

import pytest

from gradshape.data import Dataset, info, load

# Read before any fixture takes it out of the environment.
ROOT = os.environ.get("GRADSHAPE_DATA")


def published(name: str) -> Dataset:
    if not ROOT or info(name).missing(Path(ROOT)):
        pytest.skip(f"GRADSHAPE_DATA has no {name}")
    return load(name, root=ROOT, download=False)


def test_fashion_mnist_34_is_dress_against_coat() -> None:
    dataset = published("fashion_mnist_34")
    assert dataset.input_shape == (1, 28, 28)
    assert dataset.train.y.bincount().tolist() == [5400, 5400]
    assert dataset.test.y.bincount().tolist() == [1000, 1000]
    # Pinned with the arrays as they were published.
    assert dataset.fingerprint == "d12d2abb44a93c9fefdd390c2ac987e566872c2bb0b6efbdebba510c68ecb3e3"


def test_fashion_mnist_images_are_the_published_ones() -> None:
    dataset = published("fashion_mnist")
    assert (len(dataset.train), len(dataset.test)) == info("fashion_mnist").rows
    zipped = Path(str(ROOT)) / "fashion_mnist" / "train-images-idx3-ubyte.gz"
    plain = gzip.decompress(zipped.read_bytes()) if zipped.exists() else zipped.with_suffix("").read_bytes()
    digest = hashlib.sha256(plain).hexdigest()
    assert digest == "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
    assert (dataset.train.x * 255).round().byte().numpy().tobytes() == plain[16:]


def test_cifar10_has_all_pictures() -> None:
    dataset = published("cifar10")
    assert dataset.train.x.shape == (50_000, 3, 32, 32)
    assert dataset.train.y.bincount().tolist() == [5000] * 10
    assert dataset.test.y.bincount().tolist() == [1000] * 10


@pytest.mark.parametrize("name", ["location30", "purchase100", "purchase100_top"])
def test_records_are_bits_of_the_announced_shape(name: str) -> None:
    dataset, source = published(name), info(name)
    assert dataset.input_shape == source.shape
    assert (len(dataset.train), len(dataset.test)) == source.rows
    assert dataset.train.x.unique().tolist() == [0, 1]
    assert len(dataset.train.y.unique()) == source.num_classes
