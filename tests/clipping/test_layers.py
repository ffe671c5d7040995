"""Every layer, alone and between others, gives the per-sample gradients of the loop over single backward passes."""

import re
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gradshape.clipping import clipped_gradient, per_sample, weighted_gradient
from tests.clipping.architectures import (
    CLASSES,
    ROWS,
    Case,
    Logits,
    convolutions,
    loop,
)
from tests.clipping.cases.every import assert_close, measured
from tests.clipping.cases.layers import LAYERS, UNUSUAL, alone, between
from tests.clipping.naive import (
    assert_equal,
    labels,
    norm,
    randn,
    squared_norms,
    trainable_layers,
    weighted_sum,
)

many = settings(max_examples=60, derandomize=True)

each_layer = pytest.mark.parametrize("of", [pytest.param(alone(*layer), id=name) for name, layer in LAYERS.items()])
each_layer_between_others = pytest.mark.parametrize(
    "of", [pytest.param(between(*layer), id=name) for name, layer in LAYERS.items()]
)


@each_layer
def test_layers_are_the_owners_of_trainable_parameters(of: Case) -> None:
    assert list(measured(of).layers) == trainable_layers(of.model())


@each_layer
def test_norms_equal_those_of_the_loop(of: Case) -> None:
    assert_close(measured(of).norms, torch.tensor([norm(row) for row in loop(of)], dtype=torch.float64))


@each_layer
def test_squares_equal_those_of_the_loop(of: Case) -> None:
    assert_close(measured(of).squares, squared_norms(of.model(), loop(of)))


@each_layer
def test_sums_weighted_by_sample_equal_those_of_the_loop(of: Case) -> None:
    weights = randn(len(of.x), seed=11)
    assert_equal(measured(of).weighted_sum(weights), weighted_sum(of.model(), loop(of), weights))


@each_layer_between_others
def test_squares_between_other_layers_equal_those_of_the_loop(of: Case) -> None:
    assert_close(measured(of).squares, squared_norms(of.model(), loop(of)))


@each_layer_between_others
def test_sums_weighted_by_layer_and_sample_equal_those_of_the_loop(of: Case) -> None:
    weights = randn(len(trainable_layers(of.model())), len(of.x), seed=12)
    assert_equal(measured(of).weighted_sum(weights), weighted_sum(of.model(), loop(of), weights))


@each_layer_between_others
def test_clipped_means_equal_those_of_the_loop(of: Case) -> None:
    norms = torch.stack([norm(row) for row in loop(of)])
    limit = float(norms.median())
    got, _ = clipped_gradient(of.model(), of.loss_fn, of.x, of.y, max_norm=limit)
    weights = (limit / norms).clamp(max=1) / len(norms)
    assert_equal(got, weighted_sum(of.model(), loop(of), weights))


@each_layer_between_others
def test_layers_do_not_see_the_size_of_microbatches(of: Case) -> None:
    weights = randn(len(of.x), seed=13)
    got, _ = weighted_gradient(of.model(), of.loss_fn, of.x, of.y, lambda norms: weights, microbatch=2)
    assert_equal(got, weighted_sum(of.model(), loop(of), weights))


@pytest.mark.parametrize("of", [pytest.param(of, id=name) for name, of in UNUSUAL.items()])
def test_what_has_no_plain_rule_is_right_or_refused(of: Case) -> None:
    model, weights = of.model(), randn(len(of.x), seed=14)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    refused = ""
    try:
        got = per_sample(model, of.loss_fn, of.x, of.y)
    except ValueError as error:
        refused = str(error)
    if refused:
        assert re.search(rf"0 is an? {type(model.get_submodule('0')).__name__}\b", refused)
    else:
        assert_close(got.squares, squared_norms(model, loop(of)))
        assert_equal(got.weighted_sum(weights), weighted_sum(model, loop(of), weights))
    assert_equal(dict(model.state_dict()), before, tolerance=0)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("kernel", [2, 4])
@pytest.mark.parametrize("mode", ["zeros", "reflect"])
def test_same_padding_of_even_kernels_is_not_symmetric(kernel: int, mode: Any) -> None:
    of = alone(lambda: nn.Conv2d(2, 3, (kernel, 1), padding="same", padding_mode=mode), randn(ROWS, 2, 5, 3))
    assert_close(measured(of).squares, squared_norms(of.model(), loop(of)))
    weights = randn(ROWS, seed=15)
    assert_equal(measured(of).weighted_sum(weights), weighted_sum(of.model(), loop(of), weights))


def random_convolution(drawn: tuple[nn.Module, tuple[int, ...]], rows: int) -> Case:
    layer, shape = drawn
    return Case(lambda: nn.Sequential(layer, Logits()), randn(rows, *shape), labels(rows, CLASSES))


@many
@given(drawn=convolutions(), rows=st.integers(1, 3))
def test_squares_and_weighted_sums_of_random_convolutions_equal_those_of_the_loop(
    drawn: tuple[nn.Module, tuple[int, ...]], rows: int
) -> None:
    of, weights = random_convolution(drawn, rows), randn(rows, seed=16)
    got = per_sample(of.model(), of.loss_fn, of.x, of.y)
    assert_close(got.squares, squared_norms(of.model(), loop(of)))
    assert_equal(got.weighted_sum(weights), weighted_sum(of.model(), loop(of), weights))


@settings(max_examples=30, derandomize=True)
@given(
    ids=st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=1, max_size=4),
    padding=st.none() | st.integers(-4, 3),
)
def test_squares_of_random_ids_equal_those_of_the_loop(ids: list[list[int]], padding: int | None) -> None:
    of = Case(
        lambda: nn.Sequential(nn.Embedding(4, 3, padding_idx=padding), Logits()),
        torch.tensor(ids),
        labels(len(ids), CLASSES),
    )
    got = per_sample(of.model(), of.loss_fn, of.x, of.y)
    assert_close(got.squares, squared_norms(of.model(), loop(of)))
