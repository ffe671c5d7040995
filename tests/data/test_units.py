"""The range of users' own values, and the map between it and [0, 1]."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradshape.data import Dataset, Split, Units, normalized


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4), st.integers(0, 2**32 - 1))
def test_there_and_back_is_the_same_up_to_rounding(low: float, width: float, seed: int) -> None:
    units = Units.of(low, low + width, row=(3,))
    own = low + width * np.random.default_rng(seed).random((5, 3))
    back = units.from_unit(torch.from_numpy(units.to_unit(own))).numpy()
    assert np.allclose(back, own, atol=1e-5 * (abs(low) + width))


def test_ends_are_the_ends() -> None:
    units = Units.of(-2, 6, row=(2,))
    assert units.to_unit(np.array([[-2.0, 6.0]])).tolist() == [[0.0, 1.0]]
    assert units.from_unit(torch.tensor([[0.0, 1.0]])).tolist() == [[-2.0, 6.0]]


def test_each_channel_may_have_a_range_of_its_own() -> None:
    units = Units.of(*normalized([0.5, 0.25, 0.0], [0.5, 0.25, 1.0]), row=(3, 4, 5))
    pictures = np.random.default_rng(0).random((2, 3, 4, 5))
    mean, std = (np.array(values).reshape(3, 1, 1) for values in ([0.5, 0.25, 0.0], [0.5, 0.25, 1.0]))
    assert np.allclose(units.to_unit((pictures - mean) / std), pictures, atol=1e-6)


@pytest.mark.parametrize("row", [(3, 3, 3), (3, 5, 3), (3, 3, 5), (3, 1, 1)])
def test_a_list_is_one_range_a_channel_of_pictures_whatever_their_width(row: tuple[int, ...]) -> None:
    units = Units.of([0, 0, 0], [1, 2, 4], row=row)
    assert units == Units.of(np.zeros((3, 1, 1)), np.array([1, 2, 4]).reshape(3, 1, 1), row=row)
    assert units.from_unit(torch.ones(1, *row))[0].amax((1, 2)).tolist() == [1, 2, 4]


@pytest.mark.parametrize("row", [(3,), (3, 3), (5, 3), (2, 3, 5, 3)])
def test_a_list_is_one_range_a_feature_of_other_rows(row: tuple[int, ...]) -> None:
    last = Units.of([0, 0, 0], [1, 2, 4], row=row).from_unit(torch.ones(1, *row))
    assert last.reshape(-1, 3).unique(dim=0).tolist() == [[1, 2, 4]]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ((3, 8, 2), r"\(2,\): expected one number, one for each channel, \(3,\), .* \(3, 8, 2\), such as \(3, 1, 1\)"),
        ((2, 3), r"\(2,\): expected one number, one for each feature, \(3,\), .* such as \(2, 1\)"),
    ],
)
def test_a_list_of_other_length_is_refused_with_the_shape_to_write(row: tuple[int, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Units.of([0, 0], [1, 1], row=row)
    columns = Units.of(np.zeros((1, 1, 2)), 1, row=(3, 8, 2))
    assert columns.shape == (1, 1, 2)


def test_each_feature_may_have_a_range_of_its_own() -> None:
    units = Units.of([0, -1], [10, 1], row=(2,))
    assert units.to_unit(np.array([[5.0, 0.0]])).tolist() == [[0.5, 0.5]]


def test_whole_numbers_come_back_whole() -> None:
    units = Units.of(0, 30_521, row=(4,), whole=True)
    tokens = np.random.default_rng(0).integers(0, 30_522, (50, 4))
    assert np.array_equal(units.from_unit(torch.from_numpy(units.to_unit(tokens))).long().numpy(), tokens)


WIDEST = 2**23


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (0, WIDEST),
        (0, WIDEST - 1),
        (1, 6_291_457),
        (-(2**22), 2**22),
        (2**24 - WIDEST, 2**24),
        (-(2**24), -(2**24) + WIDEST),
        (-3, 5_000_000),
        (2**24 - 1, 2**24),
    ],
)
def test_whole_numbers_come_back_whole_from_the_widest_ranges(low: int, high: int) -> None:
    units = Units.of(low, high, row=(1,), whole=True)
    drawn = np.random.default_rng(0).integers(low, high + 1, 100_000)
    middle = (low + high) // 2
    near = [np.arange(max(low, at - 1000), min(high, at + 1000) + 1) for at in (low, middle, high)]
    own = np.concatenate([drawn, *near])[:, None]
    assert np.array_equal(units.from_unit(torch.from_numpy(units.to_unit(own))).long().numpy(), own)


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, WIDEST + 1), (0, 2**30), (2**24 - 5, 2**24 + 1), (-(2**24) - 1, 0), (2**40, 2**40 + 1), (0.5, 10), (0, 2.25)],
)
def test_a_range_of_more_whole_numbers_than_come_back_is_refused(low: float, high: float) -> None:
    told = rf"value_range=\({low:.1f}, .*whole=True: expected whole numbers from .* to 2\*\*24, at most 2\*\*23 apart"
    with pytest.raises(ValueError, match=told):
        Units.of(low, high, row=(2,), whole=True)
    with pytest.raises(ValueError, match=told):
        Units.of([0, low], [1, high], row=(2,), whole=True)
    assert Units.of(low, high, row=(2,)).high == (high,)


@pytest.mark.parametrize("value", [-1, 2**20 + 1])
def test_a_whole_number_beside_the_range_is_not_moved_into_it(value: int) -> None:
    with pytest.raises(ValueError, match=rf"{value}.* in row 0: expected values in the declared range"):
        Units.of(0, 2**20, row=(1,), whole=True).to_unit(np.array([[value]]))


def test_gradients_pass_through() -> None:
    x = torch.tensor([[0.25]], requires_grad=True)
    Units.of(-1, 3, row=(1,)).from_unit(x).sum().backward()
    assert x.grad is not None
    assert x.grad.item() == 4


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (1, 1, r"value_range=\(1, 1\): expected two finite numbers, the lower one first"),
        (2, 1, "the lower one first"),
        (0, np.inf, "expected two finite numbers"),
        (np.nan, 1, "expected two finite numbers"),
        ([0, 0, 0], 1, r"has shape \(3,\): expected one number"),
        ([0, 0], [1, 0.0], r"at \(np.int64\(1\),\)|at \(1,\)"),
    ],
)
def test_a_range_that_is_none_is_refused(low: object, high: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Units.of(low, high, row=(2,))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "said"), [(1.5, "1.5"), (-1.2, "-1.2"), (np.nan, "not finite"), (np.inf, "not finite")]
)
def test_values_outside_are_named_with_their_row_and_the_range(value: float, said: str) -> None:
    own = np.zeros((3, 2))
    own[2, 1] = value
    with pytest.raises(ValueError, match=rf"{said}.*in row 2: expected values in the declared range, \[-1, 1\]"):
        Units.of(-1, 1, row=(2,)).to_unit(own)


def test_fractions_among_whole_numbers_are_named() -> None:
    with pytest.raises(ValueError, match=r"0.5.* in row 1: expected whole numbers"):
        Units.of(0, 9, row=(2,), whole=True).to_unit(np.array([[1.0, 2.0], [0.5, 3.0]]))


def test_a_deviation_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="std=0: expected numbers greater than 0"):
        normalized(0.5, 0)


def test_units_are_part_of_what_a_data_set_is() -> None:
    rows = Split(torch.rand(4, 2), torch.tensor([0, 1, 0, 1]))
    plain, one, other = (
        Dataset("mine", rows, rows, num_classes=2, units=units)
        for units in (None, Units.of(-1, 1, row=(2,)), Units.of(-2, 2, row=(2,)))
    )
    assert len({plain.fingerprint, one.fingerprint, other.fingerprint}) == 3
    assert one.subset(train=2).units == one.copy().units == one.units
