"""Location-30 and Purchase-100, which share the form of their tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradshape.data import DataError, load, source
from gradshape.data._sets import location30, purchase100
from tests.data import publish

# These sets have up to 100 classes, and their files here have few rows.
pytestmark = pytest.mark.filterwarnings("ignore:.* has no train rows of class:UserWarning")


@pytest.fixture
def location(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    small = publish.smaller(location30.LOCATION30, location30.read, rows=60, features=8, train=45)
    monkeypatch.setitem(source._registry, "location30", small)
    x, y = publish.records(60, 8, 30)
    publish.tgz(tmp_path / "location30" / "dataset_location.tgz", {"bangkok": publish.table(x, y)})
    return tmp_path


@pytest.fixture
def purchase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    counts = {"rows": 200, "features": 9, "train": 50, "test": 60}
    for entry, read, extra in (
        (purchase100.PURCHASE100, purchase100.read, {}),
        (purchase100.PURCHASE100_TOP, purchase100.read_top, {"items": 3}),
    ):
        monkeypatch.setitem(source._registry, entry.name, publish.smaller(entry, read, **counts, **extra))
    (tmp_path / "purchase100").mkdir()
    return tmp_path


def write_table(root: Path, x: Any, y: Any) -> None:
    publish.tgz(root / "purchase100" / "dataset_purchase.tgz", {"dataset_purchase": publish.table(x, y, quote="")})


def write_arrays(root: Path, **arrays: Any) -> Path:
    path = root / "purchase100" / "purchase100.npz"
    np.savez(path, **arrays)
    return path


def test_location_keeps_every_record_once(location: Path) -> None:
    x, y = publish.records(60, 8, 30)
    dataset = load("location30", root=location, download=False)
    loaded = [
        (*row, label)
        for split in (dataset.train, dataset.test)
        for row, label in zip(split.x.tolist(), split.y.tolist(), strict=True)
    ]
    assert (len(dataset.train), len(dataset.test)) == (45, 15)
    assert sorted(loaded) == sorted((*row, label) for row, label in zip(x.tolist(), y.tolist(), strict=True))


def test_location_table_with_a_bad_line_is_refused(location: Path) -> None:
    x, y = publish.records(60, 8, 31)
    publish.tgz(location / "location30" / "dataset_location.tgz", {"bangkok": publish.table(x, y)})
    with pytest.raises(DataError, match=r"dataset_location\.tgz line 31 has a class id outside 1\.\.30"):
        load("location30", root=location, download=False)


def test_both_forms_of_purchase_give_the_same_records(purchase: Path) -> None:
    x, y = publish.records(200, 9, 100)
    write_table(purchase, x, y)
    from_table = load("purchase100", root=purchase, download=False)
    (purchase / "purchase100" / "dataset_purchase.tgz").unlink()
    write_arrays(purchase, features=x.astype(np.int64), labels=np.eye(100)[y])
    assert load("purchase100", root=purchase, download=False).fingerprint == from_table.fingerprint
    assert (len(from_table.train), len(from_table.test)) == (50, 60)


def test_purchase_records_do_not_overlap(purchase: Path) -> None:
    # The nine items hold the number of the record in binary.
    x = (np.arange(200)[:, None] >> np.arange(9) & 1).astype(np.uint8)
    write_table(purchase, x, np.arange(200) % 100)
    dataset = load("purchase100", root=purchase, download=False)
    numbers = [(split.x.numpy() @ (1 << np.arange(9))).tolist() for split in (dataset.train, dataset.test)]
    assert len({*numbers[0], *numbers[1]}) == 110


def test_top_is_the_most_frequent_items_of_the_same_records(purchase: Path) -> None:
    x, y = publish.records(200, 9, 100)
    x[:, [7, 0, 4]] |= np.random.default_rng(1).integers(0, 2, (200, 3), dtype=np.uint8)
    write_table(purchase, x, y)
    whole = load("purchase100", root=purchase, download=False)
    top = load("purchase100_top", root=purchase, download=False)
    assert top.train.x.equal(whole.train.x[:, [0, 4, 7]])
    assert top.test.y.equal(whole.test.y)


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        pytest.param({"features": np.zeros((200, 8))}, r"array features has shape \(200, 8\): expected", id="items"),
        pytest.param({"features": np.full((200, 9), 0.5)}, "array features has a value that is neither", id="half"),
        pytest.param({"features": np.full((200, 9), np.nan)}, "neither 0 nor 1", id="NaN"),
        pytest.param({"labels": np.zeros((200, 100))}, "without exactly one 1", id="no class"),
        pytest.param({"labels": np.ones((200, 100))}, "without exactly one 1", id="all classes"),
        pytest.param({"labels": np.zeros(200)}, r"array labels has shape \(200,\)", id="class ids"),
        pytest.param({"labels": np.full((200, 100), None)}, "holds Python objects", id="objects"),
    ],
)
def test_bad_purchase_arrays_are_refused(purchase: Path, arrays: dict[str, Any], problem: str) -> None:
    x, y = publish.records(200, 9, 100)
    path = write_arrays(purchase, **{"features": x, "labels": np.eye(100)[y], **arrays})
    with pytest.raises(DataError, match=problem) as caught:
        load("purchase100", root=purchase, download=False)
    assert caught.value.path == path


def test_purchase_arrays_lacking_labels_are_refused(purchase: Path) -> None:
    write_arrays(purchase, features=np.zeros((200, 9)))
    with pytest.raises(DataError, match=r"lacks labels \(it has features\)"):
        load("purchase100_top", root=purchase, download=False)
