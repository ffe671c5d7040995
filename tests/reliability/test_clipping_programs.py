"""Whatever a model does to its rows, its per-sample gradients are those of a loop, or refused: never wrong."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gradshape.clipping import per_sample
from tests.clipping.naive import (
    assert_equal,
    per_sample_gradients,
    randn,
    squared_norms,
    trainable_layers,
    weighted_sum,
)
from tests.reliability.clipping_programs import CONTAINERS, MIXING, ROW_WISE, Program, Written, programs, reordered

some = settings(max_examples=50, derandomize=True, deadline=None)
every_mixture = pytest.mark.parametrize("mixture", sorted(MIXING))


def assert_exact(of: Written, x: Tensor, y: Tensor) -> None:
    got = per_sample(of.model, of.loss_fn, x, y)
    rows = per_sample_gradients(of.model, of.loss_fn, x, y)
    torch.testing.assert_close(got.squares, squared_norms(of.model, rows), rtol=1e-8, atol=1e-10)
    weights = randn(len(trainable_layers(of.model)), len(x), seed=1)
    assert_equal(got.weighted_sum(weights), weighted_sum(of.model, rows, weights), tolerance=1e-8)


def mixes(of: Written, x: Tensor, y: Tensor) -> bool:
    together = of.loss_fn(of.model(x), y)
    alone = torch.cat([of.loss_fn(of.model(x[i : i + 1]), y[i : i + 1]) for i in range(len(x))])
    return not torch.allclose(together, alone, rtol=1e-6, atol=1e-6)


@some
@given(of=programs(mixing=False), rows=st.sampled_from([1, 2, 3, 5]))
def test_programs_that_take_rows_one_by_one_are_exact(of: Written, rows: int) -> None:
    for seed in (0, 1):  # What the first batch showed is remembered for the second.
        assert_exact(of, *of.batch(rows, seed))


@settings(max_examples=25, derandomize=True, deadline=None)
@given(of=programs(mixing=False))
def test_what_some_sizes_of_batches_show_holds_for_the_others(of: Written) -> None:
    for rows in (2, 3, 4, 5, 6, 7):
        assert_exact(of, *of.batch(rows, rows))


@some
@given(of=programs(mixing=False))
def test_a_switch_of_the_batch_axis_is_noticed(of: Written) -> None:
    # With as many rows as steps in time nothing has another shape. Some steps mix rows if the axes are swapped.
    x, y = of.batch(of.length, 0)
    for time_first in (False, True, False):
        of.model.time_first = time_first
        if mixes(of, x, y):
            with pytest.raises(ValueError, match="whatever rows are beside it"):
                per_sample(of.model, of.loss_fn, x, y)
        else:
            assert_exact(of, x, y)


@some
@given(of=programs(mixing=True), rows=st.sampled_from([2, 3, 5]))
def test_programs_that_mix_rows_are_refused(of: Written, rows: int) -> None:
    x, y = of.batch(rows, 0)
    if mixes(of, x, y):
        with pytest.raises(ValueError, match="whatever rows are beside it"):
            per_sample(of.model, of.loss_fn, x, y)
    else:
        assert_exact(of, x, y)


@every_mixture
@pytest.mark.parametrize("rows", [2, 5, 40])
def test_every_mixture_is_refused(mixture: str, rows: int) -> None:
    container, loss_fn = CONTAINERS["tensor"]
    of = Written(Program([ROW_WISE["linear"], MIXING[mixture]], 5, container).double(), loss_fn, 5, True)
    with pytest.raises(ValueError, match="expected a model and a loss that give a row the same"):
        per_sample(of.model, of.loss_fn, *of.batch(rows, 0))


def test_two_rows_of_many_that_are_exchanged_are_found() -> None:
    def exchanged(h: Tensor) -> Tensor:
        return torch.cat([h[:21], h[22:23], h[21:22], h[23:]])

    container, loss_fn = CONTAINERS["tensor"]
    steps = [lambda m, h: exchanged(m.layers[0](exchanged(h)))]
    of = Written(Program(steps, 5, container).double(), loss_fn, 5, False)
    assert_exact(of, *of.batch(40, 0))
    of.model.steps = [lambda m, h: m.layers[0](exchanged(h))]
    with pytest.raises(ValueError, match="the loss of row"):
        per_sample(of.model, of.loss_fn, *of.batch(40, 0))


def test_rows_that_are_alike_prove_nothing_about_others() -> None:
    container, loss_fn = CONTAINERS["tensor"]
    steps = [reordered([ROW_WISE["linear"]], "slices", "slices", 1)]
    of = Written(Program(steps, 5, container).double(), loss_fn, 5, False)
    x, y = of.batch(5, 0)
    assert_exact(of, x[:1].expand_as(x), y[:1].expand_as(y))
    assert_exact(of, x, y)
