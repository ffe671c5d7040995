import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gradshape.data import Dataset, Split


def dataset(x: Tensor | None = None, y: Tensor | None = None, *, num_classes: int = 2) -> Dataset:
    good = Split(torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1]))
    train = Split(good.x if x is None else x, good.y if y is None else y)
    return Dataset(name="toy", train=train, test=good, num_classes=num_classes)


@pytest.mark.parametrize(
    ("x", "y", "expectation"),
    [
        pytest.param(
            torch.tensor([[0.5], [1.5]]), None, r"toy: train: x has 1.5 in row 1, place \(0,\): expected", id="above 1"
        ),
        pytest.param(
            torch.tensor([[-0.5], [0.5]]), None, r"has -0.5 in row 0.*expected values in \[0, 1\]", id="below 0"
        ),
        pytest.param(torch.tensor([[0.5], [1 + 2**-23]]), None, "x has 1.0000001192092896 in row 1", id="just above 1"),
        pytest.param(torch.tensor([[0.5], [float("nan")]]), None, "not finite in row 1", id="NaN"),
        pytest.param(torch.tensor([[float("inf")], [0.0]]), None, "not finite in row 0", id="infinity"),
        pytest.param(torch.tensor([[0.5], [0.5]]).double(), None, "expected torch.float32", id="float64"),
        pytest.param(torch.tensor([0.5, 0.5]), None, "expected", id="no feature axis"),
        pytest.param(None, torch.tensor([0, 2]), r"labels lie in \[0, 2\]", id="label too large"),
        pytest.param(None, torch.tensor([-1, 0]), r"expected class ids in \[0, 2\)", id="label negative"),
        pytest.param(None, torch.tensor([0]), "expected", id="fewer labels than rows"),
        pytest.param(torch.empty(0, 1), torch.empty(0).long(), "has no rows", id="empty"),
        pytest.param(torch.empty(2, 0), None, r"x has shape \(2, 0\): expected at least one value", id="no values"),
        pytest.param(torch.zeros(2, 3), None, "expected the same", id="other shape than test"),
    ],
)
def test_bad_split_is_refused(x: Tensor | None, y: Tensor | None, expectation: str) -> None:
    with pytest.raises(ValueError, match=expectation):
        dataset(x, y)


def test_fingerprint_depends_on_every_part() -> None:
    reference = dataset()
    others = [
        dataset(x=torch.tensor([[0.0], [0.5]])),
        dataset(y=torch.tensor([1, 0])),
        dataset(num_classes=3),
        dataclasses.replace(reference, train=reference.test, test=dataset(y=torch.tensor([1, 0])).train),
    ]
    assert len({reference.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_fingerprint_does_not_depend_on_name() -> None:
    assert dataclasses.replace(dataset(), name="other").fingerprint == dataset().fingerprint


@settings(max_examples=40)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=80), st.integers(1, 90), st.integers(0, 5))
def test_subset_keeps_class_shares(labels: list[int], count: int, seed: int) -> None:
    y = torch.tensor(labels)
    rows = Split(torch.linspace(0, 1, len(labels)).unsqueeze(1), y)
    subset = Dataset(name="toy", train=rows, test=rows, num_classes=4).subset(train=count, seed=seed).train

    kept = min(count, len(labels))
    assert len(subset) == kept
    # Four classes are rounded one by one: the error of one is below one row, their sum below three.
    exact = y.bincount(minlength=4) * kept / len(labels)
    assert (subset.y.bincount(minlength=4) - exact).abs().max() < 3


@settings(max_examples=20)
@given(st.integers(1, 60))
def test_subset_draws_rows_of_the_whole_without_repetition(count: int) -> None:
    rows = Split(torch.arange(60.0).unsqueeze(1) / 60, torch.arange(60) % 3)
    subset = Dataset(name="toy", train=rows, test=rows, num_classes=3).subset(train=count).train
    positions = (subset.x.squeeze(1) * 60).round().long()
    assert len(positions.unique()) == count
    assert torch.equal(positions % 3, subset.y)


def test_subset_is_drawn_by_seed() -> None:
    rows = Split(torch.rand(100, 2, generator=torch.Generator().manual_seed(0)), torch.arange(100) % 2)
    whole = Dataset(name="toy", train=rows, test=rows, num_classes=2)
    assert whole.subset(train=20, seed=1).fingerprint == whole.subset(train=20, seed=1).fingerprint
    assert whole.subset(train=20, seed=1).fingerprint != whole.subset(train=20, seed=2).fingerprint


def test_subset_of_everything_is_everything() -> None:
    assert dataset().subset(train=2, test=99).fingerprint == dataset().fingerprint


def test_empty_subset_is_refused() -> None:
    with pytest.raises(ValueError, match="subset size 0: expected at least 1 row"):
        dataset().subset(train=0)
