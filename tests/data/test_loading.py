from pathlib import Path

import numpy as np
import pytest

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
    with pytest.raises(DataError, match=r"holds bad data \(broken: train: x lies in \[2, 2\]"):
        load("broken", root=tmp_path)


def test_loading_twice_gives_separate_memory() -> None:
    first, second = load("digits"), load("digits")
    assert first.train.x.data_ptr() != second.train.x.data_ptr()
