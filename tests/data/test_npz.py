from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from gradshape.data import DataError, load
from gradshape.data._arrays import open_arrays


def write(path: Path, **changes: Any) -> Path:
    arrays: dict[str, Any] = {
        "x_train": np.linspace(0, 1, 12).reshape(6, 2),
        "y_train": np.array([0, 1, 2, 0, 1, 2]),
        "x_test": np.zeros((3, 2), np.float32),
        "y_test": np.array([0, 1, 1], np.uint8),
    }
    arrays.update(changes)
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_arrays_become_a_dataset(tmp_path: Path) -> None:
    dataset = load(write(tmp_path / "mine.npz"))
    assert dataset.name == "mine"
    assert dataset.num_classes == 3
    assert dataset.train.x.numpy() == pytest.approx(np.linspace(0, 1, 12).reshape(6, 2))
    assert dataset.test.y.tolist() == [0, 1, 1]


def test_path_may_be_text_and_bits_may_be_booleans(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.npz", x_train=np.eye(6, 2, dtype=np.bool_))
    assert load(str(path)).train.x.sum() == 2


def test_a_value_a_rounding_above_1_is_1(tmp_path: Path) -> None:
    x = np.full((6, 2), 0.25)
    x[0, 0] = 1 + 2.3e-16
    assert load(write(tmp_path / "mine.npz", x_train=x)).train.x[0].tolist() == [1, 0.25]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<f2", "|b1", "|u1", ">i8"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_those_that_numpy_reads(
    order: Literal["C", "F"], dtype: str, save: Callable[..., None], tmp_path: Path
) -> None:
    x = np.random.default_rng(0).integers(0, 2, (5, 2, 3)).astype(dtype, order=order)
    save(tmp_path / "mine.npz", x=x)
    with np.load(tmp_path / "mine.npz") as reference:
        read = open_arrays(tmp_path / "mine.npz", ("x",))["x"]
        assert read.dtype == reference["x"].dtype
        assert np.array_equal(read, reference["x"])


def test_arrays_larger_than_the_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradshape.data._arrays.memory", lambda: 500)
    with pytest.raises(DataError, match=r"declares \d+ bytes of arrays: expected at most this machine's 500"):
        load(write(tmp_path / "mine.npz"))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"mine\.npz' does not exist: expected the path of an \.npz file"):
        load(tmp_path / "mine.npz")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param({"y_test": None}, r"lacks y_test \(it has x_train, y_train, x_test\)", id="array missing"),
        pytest.param(
            {"x_train": np.full((6, 2), None)}, "x_train holds Python objects, which are pickled", id="objects"
        ),
        pytest.param({"x_train": np.full((6, 2), "a")}, "array x_train has dtype <U1: expected numbers", id="text"),
        pytest.param({"x_train": np.full((6, 2), np.nan)}, "x_train has a value that is not finite in row 0", id="NaN"),
        pytest.param(
            {"x_train": np.full((6, 2), 1.5)},
            r"x_train has 1.5 in row 0.*\[0, 1\] \(scale by the least .*\. Save this file again",
            id="1.5",
        ),
        pytest.param({"x_test": np.full((3, 2), -1)}, r"x_test lies in \[-1, -1\]", id="negative"),
        pytest.param({"x_train": np.full((6, 2), 9, np.uint8)}, "divide bytes by 255", id="bytes"),
        pytest.param({"x_train": np.zeros((5, 2))}, r"x_train has shape \(5, 2\) and y_train \(6,\)", id="rows"),
        pytest.param({"x_train": np.zeros(6)}, "expected", id="no feature axis"),
        pytest.param({"x_test": np.zeros((3, 3))}, "expected the same", id="shapes differ"),
        pytest.param({"x_test": np.zeros((0, 2)), "y_test": np.zeros(0, int)}, "N > 0", id="no rows"),
        pytest.param({"y_train": np.array([0, 1, -1, 0, 1, 2])}, "a label is -1", id="label negative"),
        pytest.param({"y_train": np.array([1, 2, 1, 2, 1, 2])}, "class 0 has no train rows", id="labels from 1"),
        pytest.param({"y_test": np.array([0, 1, 3])}, "class 3 has no train rows, but test rows", id="label unseen"),
        pytest.param({"x_train": np.zeros((6, 8, 8, 3))}, "channels last", id="channels last"),
        pytest.param({"x_train": np.eye(6, 2) * (1 + 2.5e-7)}, "x_train has 1.00000025 in row 0", id="just above 1"),
        pytest.param({"y_train": np.zeros(6)}, "y_train has dtype float64: expected integer", id="labels as floats"),
        pytest.param({"y_train": np.zeros((6, 1), int)}, r"and y_train \(6, 1\)", id="labels in a column"),
    ],
)
def test_bad_arrays_are_refused(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    path = write(tmp_path / "mine.npz", **changes)
    with pytest.raises(DataError, match=problem) as caught:
        load(path)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"<html>", "looks like a web page", id="HTML"),
        pytest.param(b"neither", "is no zip file", id="no zip file"),
    ],
)
def test_file_that_is_no_npz_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "mine.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=problem):
        load(path)


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.npz")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="truncated"):
        load(path)


def test_damaged_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.npz")
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"mine\.npz"):
        load(path)


def test_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.npz").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path / "mine.npz")
