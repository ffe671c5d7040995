"""Token counts of a corpus of one's own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from gradshape.data import DataError, load

TRAIN = np.array([[0, 3, 1], [2, 0, 0], [0, 0, 0], [0, 1, 0]])
TEST = np.array([[0, 0, 7], [1, 0, 0]])
LABELS = {"y_train": np.array([0, 1, 1, 0]), "y_test": np.array([0, 1])}
DENSE = {"counts_train": TRAIN, "counts_test": TEST, **LABELS}


def parts(name: str, dense: Any) -> dict[str, Any]:
    matrix = sparse.csr_array(dense)
    found = {part: getattr(matrix, part) for part in ("data", "indices", "indptr", "shape")}
    return {f"{name}_{part}": array for part, array in found.items()}


SPARSE = {**parts("counts_train", TRAIN), **parts("counts_test", TEST), **LABELS}


def write(path: Path, arrays: dict[str, Any], **changes: Any) -> Path:
    np.savez_compressed(path, **{name: array for name, array in (arrays | changes).items() if array is not None})
    return path


@pytest.mark.parametrize("arrays", [DENSE, SPARSE], ids=["dense", "sparse"])
def test_counts_become_presences(tmp_path: Path, arrays: dict[str, Any]) -> None:
    dataset = load(write(tmp_path / "mail.npz", arrays))
    assert dataset.train.x.tolist() == (TRAIN > 0).tolist()
    assert dataset.test.x.tolist() == (TEST > 0).tolist()
    assert dataset.train.y.tolist() == [0, 1, 1, 0]
    assert (dataset.name, dataset.num_classes) == ("mail", 2)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.bool_])
def test_counts_may_have_any_type_of_numbers(tmp_path: Path, dtype: Any) -> None:
    dataset = load(write(tmp_path / "mail.npz", DENSE, counts_train=TRAIN.astype(dtype)))
    assert dataset.train.x.tolist() == (TRAIN > 0).tolist()


def test_zeros_that_are_stored_are_absent_and_tokens_may_come_in_any_order(tmp_path: Path) -> None:
    changes = {
        "counts_train_data": np.array([1, 0, 2, 5]),
        "counts_train_indices": np.array([2, 1, 0, 0]),
        "counts_train_indptr": np.array([0, 2, 2, 3, 4]),
    }
    dataset = load(write(tmp_path / "mail.npz", SPARSE, **changes))
    assert dataset.train.x.tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0], [1, 0, 0]]


def test_token_counts_under_the_usual_name_are_told_their_own(tmp_path: Path) -> None:
    arrays = {"x_train": TRAIN, "x_test": TEST, **LABELS}
    with pytest.raises(DataError, match=r"token counts.* name them counts_train"):
        load(write(tmp_path / "mail.npz", arrays))


@pytest.mark.parametrize(
    ("arrays", "changes", "problem"),
    [
        pytest.param(DENSE, {"counts_test": None}, r"lacks counts_test .*: expected .*counts_train", id="no test"),
        pytest.param(SPARSE, {"counts_test_shape": None}, "lacks counts_test_shape", id="no shape"),
        pytest.param(DENSE, {"counts_train": -TRAIN}, "counts_train has a count -3", id="negative"),
        pytest.param(DENSE, {"counts_train": TRAIN * np.nan}, "counts_train has a count nan", id="NaN"),
        pytest.param(DENSE, {"counts_train": np.full((4, 3), None)}, "pickled and never loaded", id="objects"),
        pytest.param(DENSE, {"counts_train": TRAIN[0]}, "expected", id="one axis"),
        pytest.param(DENSE, {"counts_train": TRAIN[:2]}, r"shape \(2, 3\) and y_train \(4,\)", id="labels left over"),
        pytest.param(DENSE, {"counts_test": TEST[:, :2]}, "expected the same", id="vocabularies differ"),
        pytest.param(SPARSE, {"counts_train_data": np.array([1, 1, 1, -1])}, "data has a count -1", id="negative part"),
        pytest.param(SPARSE, {"counts_train_data": np.ones(3)}, r"shapes \(3,\) and \(4,\)", id="data too short"),
        pytest.param(SPARSE, {"counts_train_shape": np.array([4])}, r"shape is \[4\]", id="shape of one axis"),
        pytest.param(SPARSE, {"counts_train_shape": np.array([4, 0])}, r"shape is \[4, 0\]", id="no tokens"),
        pytest.param(SPARSE, {"counts_train_shape": np.array([5, 3])}, "among 5 messages", id="more messages"),
        pytest.param(
            SPARSE, {"counts_train_shape": np.array([4, 2])}, r"lies in \[0, 2\]: expected tokens in \[0, 2\)", id="V"
        ),
        pytest.param(SPARSE, {"counts_train_indices": np.array([0, 1, -1, 0])}, r"lies in \[-1, 1\]", id="token -1"),
        pytest.param(SPARSE, {"counts_train_indptr": np.array([0, 3, 2, 3, 4])}, "never fall", id="indptr falls"),
        pytest.param(SPARSE, {"counts_train_indptr": np.array([1, 2, 3, 3, 4])}, "from 0 to 4", id="indptr from 1"),
        pytest.param(SPARSE, {"counts_train_indptr": np.array([0, 2, 3, 3, 9])}, "from 0 to 4", id="indptr too far"),
        pytest.param(SPARSE, {"counts_train_indptr": np.array([0, 2.5, 3, 3, 4])}, "row of integers", id="fractions"),
    ],
)
def test_bad_arrays_are_refused(tmp_path: Path, arrays: dict[str, Any], changes: dict[str, Any], problem: str) -> None:
    path = write(tmp_path / "mail.npz", arrays, **changes)
    with pytest.raises(DataError, match=problem) as caught:
        load(path)
    assert caught.value.path == path
