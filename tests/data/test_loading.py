import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gradshape import data
from gradshape.data import DataError, info, load, names, source
from gradshape.data.source import RawSplit, Source


def test_contract_names_are_registered() -> None:
    assert set(names()) >= {
        "digits",
        "two_moons",
        "purchase_synthetic",
        "fashion_mnist",
        "fashion_mnist_34",
        "cifar10",
        "purchase100",
        "purchase100_top",
        "location30",
    }


def test_public_names_exist() -> None:
    assert all(hasattr(data, name) for name in data.__all__)


@pytest.mark.parametrize(("name", "near"), [("fashion_mnsit", "fashion_mnist"), ("cifar_10", "cifar10")])
def test_unknown_name_lists_near_ones(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"unknown data set '{name}': did you mean .*'{near}'.* known: ") as caught:
        load(name)
    assert "purchase_synthetic" in str(caught.value)


@pytest.mark.parametrize("name", ["fashion_mnist_34", "fashion_mnist_01", "purchase100_top"])
def test_derived_sets_share_the_files_of_their_base(name: str, tmp_path: Path) -> None:
    base = "purchase100" if name.startswith("purchase") else "fashion_mnist"
    assert info(name).location(tmp_path) == tmp_path / base
    assert info(name).files == info(base).files


def test_source_that_breaks_its_promise_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = RawSplit(np.full((2, 1), 2.0), np.array([0, 1]))
    broken = Source(name="broken", description="", read=lambda folder: (rows, rows), num_classes=2)
    monkeypatch.setitem(source._registry, "broken", broken)
    with pytest.raises(DataError, match=r"holds bad data \(broken: train: x has 2.0 in row 0, place \(0,\): expected"):
        load("broken", root=tmp_path)


def test_loading_twice_gives_separate_memory() -> None:
    first, second = load("digits"), load("digits")
    assert first.train.x.data_ptr() != second.train.x.data_ptr()


def registered(
    monkeypatch: pytest.MonkeyPatch, x: NDArray[Any], y: NDArray[Any], *, num_classes: int | None = None, scale: int = 1
) -> str:
    """The name of a source with these rows in both splits."""
    rows = RawSplit(x, y)
    mine = Source(name="mine", description="", read=lambda folder: (rows, rows), num_classes=num_classes, scale=scale)
    monkeypatch.setitem(source._registry, "mine", mine)
    return "mine"


X, Y = np.full((4, 2), 0.5), np.array([0, 1, 0, 1])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64], ids=["half", "single", "double"])
@pytest.mark.parametrize("scale", [1, 255])
def test_values_a_rounding_outside_are_0_or_1(dtype: type, scale: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x: NDArray[Any] = np.full((4, 2), 0.5 * scale, dtype)
    x[1, 1], x[2, 0] = np.nextafter(dtype(scale), dtype(np.inf)), -np.finfo(dtype).eps
    loaded = load(registered(monkeypatch, x, Y, scale=scale)).train.x
    assert loaded[1, 1] == 1
    assert loaded[2, 0] == 0
    assert loaded[0].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("scale", [1, 255])
@pytest.mark.parametrize("value", [1 + 2.5e-7, -2.5e-7, 1e300, float("inf"), float("nan")])
def test_values_further_outside_are_named(value: float, scale: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = scale * X
    x[2, 1] = value * scale
    name = registered(monkeypatch, x, Y, scale=scale)
    said = rf"has {re.escape(repr(float(x[2, 1])))}" if abs(value) < 1e300 else "has "
    with pytest.raises(DataError, match=rf"mine: train: x {said}.* in row 2, place \(1,\): expected .* \[0, {scale}\]"):
        load(name)


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ([1, 2, 1, 2], "class 0 has no train rows, where the train labels are 1, 2, and the largest label is 2"),
        ([0, 2, 0, 2], "class 1 has no train rows, where the train labels are 0, 2"),
        ([0, 0, 0, 0], "all labels are 0: expected at least two classes"),
        ([0, -1, 0, 1], "a label is -1: expected class ids counted from 0"),
        ([0, 1, 0, 2**62], "class 2 has no train rows"),
    ],
)
def test_labels_that_leave_a_class_out_are_refused(
    labels: list[int], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=problem):
        load(registered(monkeypatch, X, np.array(labels)))


def test_a_class_that_has_test_rows_only_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    splits = RawSplit(X, Y), RawSplit(X, np.array([0, 1, 2, 3]))
    monkeypatch.setitem(source._registry, "mine", Source(name="mine", description="", read=lambda folder: splits))
    with pytest.raises(DataError, match="class 2 has no train rows, but test rows"):
        load("mine")


def test_a_class_may_lack_test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    splits = RawSplit(X, Y), RawSplit(X, np.zeros(4, int))
    monkeypatch.setitem(source._registry, "mine", Source(name="mine", description="", read=lambda folder: splits))
    assert load("mine").num_classes == 2


def test_a_declared_class_without_train_rows_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.warns(UserWarning, match="mine has no train rows of class 2: no victim can learn it"):
        assert load(registered(monkeypatch, X, Y, num_classes=3)).num_classes == 3


def test_labels_that_are_no_integers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="labels are float64 and float64: expected integers"):
        load(registered(monkeypatch, X, Y + 0.5, num_classes=2))


@pytest.mark.parametrize("shape", [(8, 8, 3), (5, 9, 1), (32, 32, 4)])
def test_pictures_with_their_channels_last_are_refused(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        DataError, match=r"like pictures with their channels last: expected \(channels, height, width\)"
    ):
        load(registered(monkeypatch, np.zeros((4, *shape)), Y))


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 8, 3), (4, 4, 4), (8, 8), (2, 8, 8, 3)])
def test_rows_of_other_shapes_are_taken(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(registered(monkeypatch, np.zeros((4, *shape)), Y)).input_shape == shape
