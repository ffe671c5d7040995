import numpy as np
import pytest
import torch

from gradshape.data import Dataset, Split, __main__, info, load, names
from gradshape.data._sets.scaling import unit_rows
from gradshape.learners.linear import Penalty, fit_linear

PINNED = {
    "diabetes": "8e1355ec507f8ded0b8b8fb6f34af8048357914f6d44f49f7caab236dd42bd69",
    "nuclei_area": "df9447f74292fc522e8764789cacabd67fd315840fb2578ab23c252cc8efcac4",
}
each_set = pytest.mark.parametrize("name", sorted(PINNED))


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADSHAPE_OFFLINE", "1")


def test_every_embedded_regression_set_is_pinned() -> None:
    assert {name for name in names() if info(name).embedded and info(name).num_classes == 0} == PINNED.keys()


@each_set
def test_content_never_changes(name: str) -> None:
    assert load(name).fingerprint == PINNED[name]


@each_set
def test_what_is_announced_is_what_loads(name: str) -> None:
    source, dataset = info(name), load(name)
    assert dataset.regression
    assert dataset.input_shape == source.shape
    assert source.rows == (len(dataset.train), len(dataset.test))
    assert (dataset.train.y.dtype, dataset.test.y.dtype) == (torch.float32, torch.float32)


@each_set
def test_the_train_rows_fill_the_range(name: str) -> None:
    train = load(name).train
    for values in (train.x, train.y[:, None]):
        low, high = values.aminmax(dim=0)
        assert (low == 0).all()
        assert (high == 1).all()


@each_set
def test_no_row_is_in_both_splits(name: str) -> None:
    dataset = load(name)
    train, test = ({(*row.tolist(), float(y)) for row, y in zip(s.x, s.y, strict=True)} for s in _splits(dataset))
    assert not train & test


def _splits(dataset: Dataset) -> tuple[Split, Split]:
    return dataset.train, dataset.test


@pytest.mark.parametrize(("name", "least", "most"), [("diabetes", 0.35, 0.6), ("nuclei_area", 0.9, 1)])
def test_a_linear_model_explains_as_much_as_is_said(name: str, least: float, most: float) -> None:
    dataset = load(name)
    fit = fit_linear(dataset.train.x, dataset.train.y, penalty=Penalty(l2=1e-3))
    explained = 1 - fit.mse(dataset.test.x, dataset.test.y) / float(dataset.test.y.double().var(correction=0))
    assert least < explained < most


def test_test_values_outside_the_train_range_are_clipped() -> None:
    x = np.array([[0.0], [2.0], [3.0], [-1.0]])
    train, test = unit_rows(x, x[:, 0], train=np.array([0, 1]), test=np.array([2, 3]))
    assert train.x.tolist() == [[0], [1]]
    assert test.x.tolist() == [[1], [0]]
    assert test.y.tolist() == [1, 0]


def test_a_constant_column_becomes_0() -> None:
    x = np.array([[5.0, 1.0], [5.0, 2.0], [6.0, 1.5]])
    train, test = unit_rows(x, x[:, 1], train=np.array([0, 1]), test=np.array([2]))
    assert train.x[:, 0].tolist() == [0, 0]
    assert test.x.tolist() == [[1, 0.5]]


def test_a_pair_of_classes_of_a_regression_set_is_refused() -> None:
    with pytest.raises(ValueError, match="diabetes"):
        load("diabetes_01")


def test_the_command_line_tells_the_range_of_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["info", "diabetes"]) == 0
    assert "300 rows; values in [0, 1], mean 0." in capsys.readouterr().out
