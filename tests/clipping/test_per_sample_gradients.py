"""What holds of the public functions whichever way is taken."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gradshape.clipping import clipped_gradient, per_sample_norms, weighted_gradient
from tests.clipping.naive import (
    PER_SAMPLE_LOSS,
    assert_equal,
    dense_models,
    distance,
    filled,
    labels,
    norm,
    per_sample_gradients,
    randn,
)

DENSE = filled(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)))
CONVOLUTIONAL = filled(
    nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Conv1d(2, 3, 2), nn.Tanh(), nn.AvgPool1d(2), nn.Flatten())
)

both_ways = pytest.mark.parametrize("model", [DENSE, CONVOLUTIONAL], ids=["closed-form", "functional"])


@both_ways
def test_an_empty_batch_has_zero_gradient_and_no_norms(model: nn.Module) -> None:
    gradient, norms = clipped_gradient(model, PER_SAMPLE_LOSS, randn(0, 6), labels(0, 3), max_norm=1.0)
    assert norms.shape == (0,)
    assert norms.dtype == torch.float64
    assert_equal(gradient, {name: torch.zeros_like(p) for name, p in model.named_parameters()}, tolerance=0)
    assert per_sample_norms(model, PER_SAMPLE_LOSS, randn(0, 6), labels(0, 3)).shape == (0,)


@both_ways
def test_limit_0_gives_zero_and_no_limit_the_mean_gradient(model: nn.Module) -> None:
    x, y = randn(4, 6), labels(4, 3)
    zero, norms = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=0)
    assert not any(g.any() for g in zero.values())
    assert (norms > 0).all()
    plain, _ = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=math.inf)
    names, parameters = zip(*model.named_parameters(), strict=True)
    mean = torch.autograd.grad(PER_SAMPLE_LOSS(model(x), y).mean(), parameters)
    assert_equal(plain, dict(zip(names, mean, strict=True)))


@both_ways
def test_a_zero_gradient_counts_towards_the_batch(model: nn.Module) -> None:
    x, y = randn(2, 6), labels(2, 3)

    def only_first(logits: Tensor, y: Tensor) -> Tensor:
        losses: Tensor = PER_SAMPLE_LOSS(logits, y.clamp(max=2))
        return losses * (y < 3)

    one, _ = clipped_gradient(model, only_first, x[:1], y[:1], max_norm=0.1)
    two, norms = clipped_gradient(model, only_first, x, torch.tensor([int(y[0]), 3]), max_norm=0.1)
    assert norms[1] == 0
    assert_equal(two, {name: g / 2 for name, g in one.items()})


@both_ways
def test_the_model_and_its_grads_stay_as_they_are_and_results_are_detached(model: nn.Module) -> None:
    x, y = randn(4, 6).requires_grad_(), labels(4, 3)
    marker = torch.zeros(())
    state = {name: value.clone() for name, value in model.state_dict().items()}
    for p in model.parameters():
        p.grad = marker.expand(p.shape).double()
    grads = [p.grad for p in model.parameters()]
    gradient, norms = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=1.0)
    assert all(p.grad is g for p, g in zip(model.parameters(), grads, strict=True))
    assert not any(g.any() for g in grads if g is not None)
    assert all(p.requires_grad for p in model.parameters())
    assert x.grad is None
    assert not norms.requires_grad
    assert not any(g.requires_grad for g in gradient.values())
    assert_equal(dict(model.state_dict()), state, tolerance=0)
    for p in model.parameters():
        p.grad = None


@both_ways
def test_no_grad_around_the_call_does_not_matter(model: nn.Module) -> None:
    x, y = randn(4, 6), labels(4, 3)
    expected, _ = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=1.0)
    with torch.no_grad():
        got, _ = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=1.0)
    assert_equal(got, expected)


@settings(max_examples=30)
@given(data=st.data(), rows=st.integers(1, 5), max_norm=st.sampled_from([1e-3, 0.1, 1.0, 100.0]))
def test_every_clipped_gradient_is_within_the_limit(data: st.DataObject, rows: int, max_norm: float) -> None:
    model, shape, classes = data.draw(dense_models())
    x, y = randn(rows, *shape), labels(rows, classes)
    for i in range(rows):
        one, _ = clipped_gradient(model, PER_SAMPLE_LOSS, x[i : i + 1], y[i : i + 1], max_norm=max_norm)
        assert norm(one) <= max_norm * (1 + 1e-6)


@both_ways
@settings(max_examples=20)
@given(seed=st.integers(0, 99), scale=st.floats(1e-3, 1e6), max_norm=st.sampled_from([0.01, 1.0, 100.0]))
def test_replacing_a_sample_moves_the_mean_by_at_most_twice_its_share(
    model: nn.Module, seed: int, scale: float, max_norm: float
) -> None:
    x, y = randn(4, 6), labels(4, 3)
    other_x, other_y = x.clone(), y.clone()
    other_x[2], other_y[2] = scale * randn(6, seed=seed), (y[2] + 1) % 3
    before, _ = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=max_norm)
    after, _ = clipped_gradient(model, PER_SAMPLE_LOSS, other_x, other_y, max_norm=max_norm)
    assert distance(before, after) <= 2 * max_norm / 4 * (1 + 1e-6)


@both_ways
@given(order=st.permutations(range(5)))
@settings(max_examples=10)
def test_the_order_of_the_batch_does_not_matter(model: nn.Module, order: list[int]) -> None:
    x, y = randn(5, 6), labels(5, 3)
    expected, norms = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=0.5)
    got, permuted = clipped_gradient(model, PER_SAMPLE_LOSS, x[order], y[order], max_norm=0.5)
    torch.testing.assert_close(permuted, norms[order], rtol=1e-9, atol=1e-9)
    assert_equal(got, expected)


@both_ways
def test_any_weights_give_their_sum_and_are_asked_for_once(model: nn.Module) -> None:
    x, y = randn(5, 6), labels(5, 3)
    asked = []

    def by_rank(norms: Tensor) -> Tensor:
        asked.append(norms)
        return norms.argsort().argsort() - 1.5

    rows = per_sample_gradients(model, PER_SAMPLE_LOSS, x, y)
    for microbatch in (None, 2):
        asked.clear()
        got, norms = weighted_gradient(model, PER_SAMPLE_LOSS, x, y, by_rank, microbatch=microbatch)
        assert len(asked) == 1
        weights = by_rank(norms)
        expected = {name: sum(w * row[name] for w, row in zip(weights, rows, strict=True)) for name in rows[0]}
        assert_equal(got, {name: torch.as_tensor(total) for name, total in expected.items()})


def test_a_model_without_trainable_parameters_has_norm_0() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).double().requires_grad_(False)
    gradient, norms = clipped_gradient(model, PER_SAMPLE_LOSS, randn(4, 6), labels(4, 3), max_norm=1.0)
    assert gradient == {}
    assert norms.shape == (4,)
    assert not norms.any()


@both_ways
@pytest.mark.parametrize("max_norm", [-1.0, math.nan])
def test_a_limit_that_is_no_norm_is_named(model: nn.Module, max_norm: float) -> None:
    with pytest.raises(ValueError, match=f"max_norm={max_norm!r}"):
        clipped_gradient(model, PER_SAMPLE_LOSS, randn(4, 6), labels(4, 3), max_norm=max_norm)


@both_ways
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("microbatch", [None, 1])
def test_the_first_sample_without_a_finite_gradient_is_named(
    model: nn.Module, bad: float, microbatch: int | None
) -> None:
    x, y = randn(5, 6), labels(5, 3)
    x[2], x[4] = bad, bad
    with pytest.raises(FloatingPointError, match=r"sample 2 is not finite \(norm nan\)"):
        clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=1.0, microbatch=microbatch)


def wrong_shape(logits: Tensor, y: Tensor) -> Tensor:
    return nn.functional.one_hot(y, 3) * logits


@both_ways
@pytest.mark.parametrize(
    "loss_fn", [nn.CrossEntropyLoss(), nn.CrossEntropyLoss(reduction="sum"), wrong_shape], ids=["mean", "sum", "matrix"]
)
def test_a_loss_that_is_not_one_per_sample_is_refused(
    model: nn.Module, loss_fn: Callable[[Tensor, Tensor], Tensor]
) -> None:
    with pytest.raises(ValueError, match=r'expected one loss per sample.*reduction="none"'):
        per_sample_norms(model, loss_fn, randn(4, 6), labels(4, 3))


@pytest.mark.parametrize("rows", [0, 4])
@pytest.mark.parametrize(
    "mixing",
    [
        pytest.param(nn.BatchNorm1d(5), id="batchnorm"),
        pytest.param(nn.SyncBatchNorm(5), id="syncbatchnorm"),
        pytest.param(nn.BatchNorm1d(5, affine=False), id="no-parameters"),
        pytest.param(nn.BatchNorm1d(5, track_running_stats=False).eval(), id="eval-without-running-statistics"),
    ],
)
def test_batch_normalisation_is_refused_with_its_replacement(mixing: nn.Module, rows: int) -> None:
    model = nn.Sequential(nn.Linear(6, 5), mixing, nn.Linear(5, 3)).double()
    with pytest.raises(ValueError, match=r"1 is a \w*BatchNorm\w* .*mixes samples.*GroupNorm"):
        clipped_gradient(model, PER_SAMPLE_LOSS, randn(rows, 6), labels(rows, 3), max_norm=1.0)


@both_ways
def test_weights_of_another_shape_are_refused(model: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"weights_fn returned shape \(\).*expected one weight per sample"):
        weighted_gradient(model, PER_SAMPLE_LOSS, randn(4, 6), labels(4, 3), torch.mean)


def test_inputs_and_labels_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="expected the same number of rows"):
        per_sample_norms(DENSE, PER_SAMPLE_LOSS, randn(4, 6), labels(3, 3))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda x: x.numpy(), "x is a ndarray: expected a tensor"),
        (lambda x: x.to_sparse(), "x has the layout torch.sparse_coo: expected a dense tensor"),
        (lambda x: torch.nested.nested_tensor(list(x), layout=torch.jagged), "x has the layout torch.jagged"),
    ],
)
@both_ways
def test_inputs_that_are_no_dense_tensor_are_refused(
    model: nn.Module, make: Callable[[Tensor], Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        per_sample_norms(model, PER_SAMPLE_LOSS, make(randn(4, 6)), labels(4, 3))


@both_ways
def test_inference_mode_is_refused_by_name(model: nn.Module) -> None:
    x, y = randn(4, 6), labels(4, 3)
    expected = per_sample_norms(model, PER_SAMPLE_LOSS, x, y)
    with torch.inference_mode(), pytest.raises(ValueError, match=r"torch\.inference_mode is on"):
        per_sample_norms(model, PER_SAMPLE_LOSS, x, y)
    with torch.no_grad():
        assert torch.equal(per_sample_norms(model, PER_SAMPLE_LOSS, x, y), expected)


@both_ways
def test_a_microbatch_of_no_samples_is_refused(model: nn.Module) -> None:
    with pytest.raises(ValueError, match="microbatch=0"):
        per_sample_norms(model, PER_SAMPLE_LOSS, randn(4, 6), labels(4, 3), microbatch=0)
