"""Orders in which the classes are spread evenly."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gradshape.data import alternating_order, stratified_order

Y = torch.tensor([0] * 60 + [1] * 30 + [3] * 10)
each_order = pytest.mark.parametrize("order", [stratified_order, alternating_order])


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@each_order
def test_every_row_comes_once(order: Callable[..., Tensor]) -> None:
    assert order(Y, generator=_generator()).sort().values.tolist() == list(range(100))


@each_order
def test_the_order_is_the_generators(order: Callable[..., Tensor]) -> None:
    one, same, other = (order(Y, generator=_generator(seed)).tolist() for seed in (0, 0, 1))
    assert one == same != other


@pytest.mark.parametrize(("start", "stop"), [(0, 10), (0, 50), (30, 70), (90, 100)])
def test_every_stretch_has_the_shares_of_the_classes(start: int, stop: int) -> None:
    counts = Y[stratified_order(Y, generator=_generator())[start:stop]].bincount(minlength=4)
    expected = torch.tensor([0.6, 0.3, 0.0, 0.1]) * (stop - start)
    assert bool(((counts - expected).abs() <= 1).all())


@pytest.mark.parametrize(("rows", "counts"), [(3, [1, 1, 0, 1]), (30, [10, 10, 0, 10]), (70, [30, 30, 0, 10])])
def test_every_prefix_has_equal_numbers_while_rows_last(rows: int, counts: list[int]) -> None:
    found = Y[alternating_order(Y, generator=_generator())[:rows]].bincount(minlength=4)
    assert found.tolist() == counts


@each_order
def test_there_may_be_no_rows(order: Callable[..., Tensor]) -> None:
    assert order(Y[:0], generator=_generator()).tolist() == []
