"""Rows and orders on the device that trains on them."""

import pytest
import torch

from gradshape.training._rows.device_rows import DeviceRows, epoch_ids, joined
from gradshape.training._rows.order import BatchIds, CommonRows, OwnRows, PoissonRows
from tests.training.samples import blobs

CPU = torch.device("cpu")
DATA = blobs()


def _same(one: BatchIds, other: BatchIds) -> bool:
    pairs = [(one.shared, other.shared), (one.private, other.private), (one.member, other.member)]
    return all(a is b if a is None or b is None else torch.equal(a, b) for a, b in pairs)


def _private(*sizes: int) -> list[torch.Tensor]:
    return [torch.arange(100, 100 + size) for size in sizes]


@pytest.mark.parametrize(
    "order",
    [
        CommonRows(torch.arange(30), torch.arange(30, 33), 30, 1, 2, 8),
        PoissonRows(torch.arange(30), torch.arange(30, 33), 30, 1, 2, 1),
        OwnRows(torch.arange(100), _private(1, 3, 0), [1, 2, 3], 100, 7, 10),
    ],
    ids=["common", "poisson", "own"],
)
def test_joined_steps_are_the_steps(order: CommonRows | OwnRows) -> None:
    steps = list(order.epoch(1))
    assert all(_same(*pair) for pair in zip(joined(steps, CPU), steps, strict=True))


@pytest.mark.parametrize("kind", [CommonRows, PoissonRows])
def test_the_ids_of_an_epoch_are_those_of_its_steps(kind: type[CommonRows]) -> None:
    order = kind(torch.arange(20), torch.arange(20, 23), 20, 1, 2, 2)
    ids = list(epoch_ids([order, order], 3, CPU))
    for both, step in zip(ids, order.epoch(3), strict=True):
        assert torch.equal(both, step.shared.expand(2, -1))


@pytest.mark.parametrize("max_bytes", [0, 1 << 30])
def test_rows_come_in_any_shape_of_ids(max_bytes: int) -> None:
    rows = DeviceRows(DATA.train.x, DATA.train.y, device=CPU, dtype=torch.float64, max_bytes=max_bytes)
    ids = torch.tensor([[0, 5, 5], [7, 1, 2]])
    x, y = rows[ids]
    assert torch.equal(x, DATA.train.x[ids].double())
    assert torch.equal(y, DATA.train.y[ids])
    parts = list(rows.split(10))
    assert torch.equal(torch.cat([part for part, _ in parts]), DATA.train.x.double())
    assert torch.equal(torch.cat([part for _, part in parts]), DATA.train.y)
