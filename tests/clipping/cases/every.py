"""All cases, and how they are measured and compared with the loop."""

from functools import cache

import pytest
import torch
from torch import Tensor

from gradshape.clipping import per_sample
from tests.clipping.architectures import (
    Case,
    loop,
)
from tests.clipping.cases.axes import BATCH_AXIS, REORDERED
from tests.clipping.cases.calls import UNUSUAL_CALLS
from tests.clipping.cases.in_place import INPLACE
from tests.clipping.cases.losses import LOSSES
from tests.clipping.cases.tied import TIED, UNREACHED
from tests.clipping.cases.whole import FROZEN, WHOLE
from tests.clipping.naive import (
    PerSample,
    assert_equal,
    randn,
    squared_norms,
    trainable_layers,
    weighted_sum,
)

EVERY = {
    "whole": WHOLE,
    "frozen": FROZEN,
    "tied": TIED,
    "unreached": UNREACHED,
    "inplace": INPLACE,
    "call": UNUSUAL_CALLS,
    "axis": BATCH_AXIS,
    "reordered": REORDERED,
    "loss": LOSSES,
}

every_case = pytest.mark.parametrize(
    "of", [pytest.param(of, id=f"{kind}-{name}") for kind, cases in EVERY.items() for name, of in cases.items()]
)
every_unfrozen = pytest.mark.parametrize(
    "of",
    [
        pytest.param(of, id=f"{kind}-{name}")
        for kind, cases in EVERY.items()
        if kind != "frozen"
        for name, of in cases.items()
    ],
)
every_whole = pytest.mark.parametrize("of", [pytest.param(of, id=name) for name, of in WHOLE.items()])


@cache
def measured(of: Case, microbatch: int | None = None) -> PerSample:
    return measure(of, microbatch=microbatch)


@cache
def head(of: Case, rows: int) -> Case:
    return of.head(rows)


def measure(of: Case, *, microbatch: int | None = None) -> PerSample:
    # A copy of the rows: some models write to them.
    return per_sample(of.model(), of.loss_fn, of.x.clone(), of.y, microbatch=microbatch)


def assert_close(got: Tensor, expected: Tensor) -> None:
    # A model without parameters has none to take the dtype from.
    torch.testing.assert_close(got.double(), expected, rtol=1e-9, atol=1e-9)


def assert_squares(got: PerSample, of: Case) -> None:
    assert_close(got.squares, squared_norms(of.model(), loop(of)))


def assert_sums(got: PerSample, of: Case, *, seed: int) -> None:
    model = of.model()
    weights = randn(len(trainable_layers(model)), len(of.x), seed=seed)
    assert_equal(got.weighted_sum(weights), weighted_sum(model, loop(of), weights))
