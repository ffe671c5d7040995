"""Whole models, however they are put together, give the per-sample gradients of the loop."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradshape.clipping import clipped_gradient, weighted_gradient
from tests.clipping.architectures import (
    Case,
    conv_nets,
    loop,
    mixtures,
    transformers,
)
from tests.clipping.cases.every import assert_squares, assert_sums, every_case, measure, measured
from tests.clipping.naive import (
    assert_equal,
    norm,
    randn,
    trainable_layers,
    weighted_sum,
)

some = settings(max_examples=40, derandomize=True)


@every_case
def test_squares_equal_those_of_the_loop(of: Case) -> None:
    assert_squares(measured(of), of)


@every_case
def test_sums_weighted_by_layer_and_sample_equal_those_of_the_loop(of: Case) -> None:
    assert_sums(measured(of), of, seed=21)


@every_case
def test_layers_are_the_owners_of_trainable_parameters_in_their_order(of: Case) -> None:
    assert list(measured(of).layers) == trainable_layers(of.model())


random_architectures = st.one_of(conv_nets(), transformers(), mixtures())


# Squares, and sums for random weights by layer and sample.
@some
@given(of=conv_nets(), seed=st.integers(0, 99))
def test_random_convolutional_networks_give_what_the_loop_does(of: Case, seed: int) -> None:
    got = measure(of)
    assert_squares(got, of)
    assert_sums(got, of, seed=seed)


@some
@given(of=transformers(), seed=st.integers(0, 99))
def test_random_transformers_give_what_the_loop_does(of: Case, seed: int) -> None:
    got = measure(of)
    assert_squares(got, of)
    assert_sums(got, of, seed=seed)


@settings(max_examples=80, derandomize=True)
@given(of=mixtures(), seed=st.integers(0, 99))
def test_random_mixtures_give_what_the_loop_does(of: Case, seed: int) -> None:
    got = measure(of)
    assert_squares(got, of)
    assert_sums(got, of, seed=seed)


@some
@given(of=random_architectures, seed=st.integers(0, 99))
def test_random_weights_by_sample_give_the_sums_of_the_loop(of: Case, seed: int) -> None:
    weights = randn(len(of.x), seed=seed)
    got, _ = weighted_gradient(of.model(), of.loss_fn, of.x, of.y, lambda norms: weights)
    assert_equal(got, weighted_sum(of.model(), loop(of), weights))


@some
@given(of=random_architectures, limit=st.sampled_from([0.0, 1e-3, 0.3, 1e6, float("inf")]))
def test_clipped_means_of_random_architectures_equal_those_of_the_loop(of: Case, limit: float) -> None:
    got, _ = clipped_gradient(of.model(), of.loss_fn, of.x, of.y, max_norm=limit)
    sizes = [float(norm(row)) for row in loop(of)]
    weights = torch.tensor([1.0 if s <= limit else limit / s for s in sizes], dtype=torch.float64) / max(1, len(sizes))
    assert_equal(got, weighted_sum(of.model(), loop(of), weights))


@some
@given(of=random_architectures, microbatch=st.integers(1, 6))
def test_random_architectures_do_not_see_the_size_of_microbatches(of: Case, microbatch: int) -> None:
    assert_squares(measure(of, microbatch=microbatch), of)
