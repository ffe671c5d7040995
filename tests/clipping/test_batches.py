"""Gradients depend on neither the size of a batch, its order nor its microbatches; sums are those of the samples."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gradshape.clipping import per_sample_norms, weighted_gradient
from tests.clipping.architectures import (
    ROWS,
    Case,
    loop,
)
from tests.clipping.cases.every import (
    assert_close,
    assert_squares,
    assert_sums,
    every_case,
    every_unfrozen,
    every_whole,
    head,
    measure,
    measured,
)
from tests.clipping.naive import (
    PerSample,
    assert_equal,
    norm,
    randn,
    weighted_sum,
)


@every_whole
@pytest.mark.parametrize("rows", [0, 1, 2, 12])
def test_batches_of_any_size_have_the_squares_of_the_loop(of: Case, rows: int) -> None:
    batch = head(of, rows)
    assert_squares(measured(batch), batch)


@every_whole
@pytest.mark.parametrize("rows", [0, 1, 2, 12])
def test_batches_of_any_size_have_the_sums_of_the_loop(of: Case, rows: int) -> None:
    batch = head(of, rows)
    assert_sums(measured(batch), batch, seed=22)


@every_whole
@pytest.mark.parametrize("microbatch", [1, 2, 3, ROWS, ROWS + 4])
def test_microbatches_give_the_squares_of_the_loop(of: Case, microbatch: int) -> None:
    assert_squares(measured(of, microbatch), of)


@every_whole
@pytest.mark.parametrize("microbatch", [1, 2, 3, ROWS, ROWS + 4])
def test_microbatches_give_the_sums_of_the_loop(of: Case, microbatch: int) -> None:
    assert_sums(measured(of, microbatch), of, seed=23)


@every_unfrozen
def test_the_second_microbatch_is_as_right_as_the_first(of: Case) -> None:
    assert_squares(measure(of, microbatch=2), of)


@every_whole
@pytest.mark.parametrize("microbatch", [None, 1, 2, ROWS + 4])
def test_weights_see_the_norms_of_the_whole_batch(of: Case, microbatch: int | None) -> None:
    def to_the_median(norms: Tensor) -> Tensor:
        return (norms.median() / norms).clamp(max=1)

    got, _ = weighted_gradient(of.model(), of.loss_fn, of.x, of.y, to_the_median, microbatch=microbatch)
    weights = to_the_median(torch.stack([norm(row) for row in loop(of)]))
    assert_equal(got, weighted_sum(of.model(), loop(of), weights))


@every_whole
def test_norms_are_those_of_all_layers_together(of: Case) -> None:
    assert_close(measured(of).norms, measured(of).squares.sum(0).sqrt())


@every_whole
def test_norms_are_the_same_from_every_function(of: Case) -> None:
    assert_close(per_sample_norms(of.model(), of.loss_fn, of.x, of.y), measured(of).norms)


@every_whole
def test_one_weight_for_all_layers_is_the_weight_of_the_sample(of: Case) -> None:
    weights = randn(ROWS, seed=24)
    repeated = weights.repeat(len(measured(of).layers), 1)
    assert_equal(measured(of).weighted_sum(repeated), measured(of).weighted_sum(weights))


@every_whole
def test_sums_may_be_asked_for_again(of: Case) -> None:
    got, weights = measure(of), randn(ROWS, seed=25)
    first = got.weighted_sum(weights)
    got.weighted_sum(-weights)
    assert_equal(got.weighted_sum(weights), first, tolerance=0)


@every_case
def test_sums_of_some_layers_are_those_of_all_without_the_others(of: Case) -> None:
    assert_parts_of_the_sum(measured(of), len(of.x))


@every_whole
def test_sums_of_some_layers_do_not_see_the_size_of_microbatches(of: Case) -> None:
    assert_parts_of_the_sum(measured(of, 2), ROWS)


def assert_parts_of_the_sum(got: PerSample, rows: int) -> None:
    weights = randn(len(got.layers), rows, seed=26)
    whole = got.weighted_sum(weights)
    for intended in ([], got.layers[:1], got.layers[1:], got.layers):
        expected = {name: total for name, total in whole.items() if name.rpartition(".")[0] in intended}
        assert_equal(got.weighted_sum(weights, only=intended), expected)


@every_whole
@settings(max_examples=5, derandomize=True)
@given(order=st.permutations(range(ROWS)))
def test_the_order_of_the_batch_is_the_order_of_the_squares(of: Case, order: list[int]) -> None:
    got = measure(Case(of.build, of.x[order], of.y[order], of.loss_fn))
    assert_close(got.squares, measured(of).squares[:, order])


@every_whole
@pytest.mark.parametrize("cut", [1, 3])
def test_parts_of_a_batch_have_the_squares_of_the_whole(of: Case, cut: int) -> None:
    parts = [
        measure(Case(of.build, x, y, of.loss_fn)).squares
        for x, y in zip(of.x.tensor_split([cut]), of.y.tensor_split([cut]), strict=True)
    ]
    assert_close(torch.cat(parts, dim=1), measured(of).squares)


@every_whole
def test_gradients_of_another_sample_have_no_part_in_a_sum(of: Case) -> None:
    for i in range(ROWS):
        only = torch.eye(ROWS, dtype=torch.float64)[i]
        assert_close(norm(measured(of).weighted_sum(only)), measured(of).norms[i])
