"""FashionMNIST (Xiao et al. 2017): 28x28 grey pictures of clothes, and the paper's pair of them, dress and coat."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gradshape.data._files import read_bytes
from gradshape.data._pairs import keep_pair
from gradshape.data.errors import DataError
from gradshape.data.source import PublishedFile, RawSplit, Source, register

_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_MD5 = {
    "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
}
FILES = tuple(
    PublishedFile(f"{name}.gz", f"{_URL}{name}.gz", f"md5:{md5}", instead=(name,)) for name, md5 in _MD5.items()
)

DRESS, COAT = 3, 4


def parse_idx(path: Path, raw: bytes | bytearray, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the bytes of an unzipped IDX file as an array of ``shape``.

    The header is big-endian: a magic number (0x08 for unsigned bytes, then the number of axes) and one
    32-bit length an axis.

    Raises:
        DataError: the magic number, a length or the number of bytes is another.
    """
    magic = 0x0800 + len(shape)
    expected = f"an IDX file with magic number {magic} and shape {shape}"
    header = 4 * (1 + len(shape))
    if len(raw) < header:
        raise DataError(path, f"has {len(raw)} bytes: expected {expected}")
    found, *lengths = (int(number) for number in np.frombuffer(raw[:header], dtype=">u4"))
    if found != magic:
        raise DataError(path, f"has magic number {found}: expected {expected}")
    if tuple(lengths) != shape:
        raise DataError(path, f"has shape {tuple(lengths)}: expected {expected}")
    content, declared = len(raw) - header, math.prod(shape)
    if content != declared:
        held = f"{content:,}" if content < declared else f"more than {declared:,}"
        raise DataError(path, f"has {held} bytes after its header: expected {declared:,}")
    return np.frombuffer(raw, dtype=np.uint8, offset=header).reshape(shape)


def _file(folder: Path, name: str) -> Path:
    zipped = folder / f"{name}.gz"
    return zipped if zipped.exists() else folder / name


def _read_idx(path: Path, expected: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    most = 4 * (1 + len(shape)) + math.prod(shape)
    return parse_idx(path, read_bytes(path, expected, most=most), shape)


def _read_split(folder: Path, prefix: str, rows: int) -> RawSplit:
    images_path = _file(folder, f"{prefix}-images-idx3-ubyte")
    labels_path = _file(folder, f"{prefix}-labels-idx1-ubyte")
    images = _read_idx(images_path, "an IDX file of images", (rows, 28, 28))
    labels = _read_idx(labels_path, "an IDX file of labels", (rows,))
    if labels.max() > 9:
        raise DataError(labels_path, f"has a label {labels.max()}: expected class ids 0..9")
    return RawSplit(images[:, None], labels)


def read(folder: Path, *, train: int = 60_000, test: int = 10_000) -> tuple[RawSplit, RawSplit]:
    """Read the published splits; the keywords are the numbers of rows that the files must have."""
    return _read_split(folder, "train", train), _read_split(folder, "t10k", test)


def read_34(
    folder: Path, *, train: int = 60_000, test: int = 10_000, per_class: int = 5_400
) -> tuple[RawSplit, RawSplit]:
    """Read dress (0) and coat (1): the first ``per_class`` train rows of either in published order, all test rows."""
    train_split, test_split = read(folder, train=train, test=test)
    return keep_pair(train_split, DRESS, COAT, per_class=per_class), keep_pair(test_split, DRESS, COAT)


FASHION_MNIST = register(
    Source(
        name="fashion_mnist",
        description="FashionMNIST: 28x28 grey pictures of clothes in 10 classes (Xiao et al. 2017)",
        read=read,
        scale=255,
        shape=(1, 28, 28),
        num_classes=10,
        rows=(60_000, 10_000),
        files=FILES,
    )
)

FASHION_MNIST_34 = register(
    Source(
        name="fashion_mnist_34",
        description="FashionMNIST, dress (0) against coat (1), the first 5,400 train rows of either",
        read=read_34,
        scale=255,
        shape=(1, 28, 28),
        num_classes=2,
        rows=(10_800, 2_000),
        files=FILES,
        folder="fashion_mnist",
    )
)
