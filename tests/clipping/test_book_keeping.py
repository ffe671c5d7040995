"""Book-keeping agrees with each sample's own backward pass, and stands back where it would not."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from gradshape.clipping import clipped_gradient, per_sample_norms, weighted_gradient
from gradshape.clipping._batch_axes import batch_axes
from gradshape.clipping._book_keeping import BookKeptGradients, book_keeping
from gradshape.clipping._forward_pass import ForwardPass
from gradshape.clipping._generators import Draws
from gradshape.clipping._rows import Rows
from gradshape.clipping._vmapped import model_gradients
from gradshape.clipping.structure import Structure
from tests.clipping.naive import (
    PER_SAMPLE_LOSS,
    Positions,
    assert_equal,
    clipped_mean,
    dense_models,
    filled,
    labels,
    per_sample_gradients,
    randn,
)

quick = settings(max_examples=50)


def takes_one_pass(model: nn.Module, x: Tensor, y: Tensor) -> bool:
    structure = Structure.of(model)
    if not structure.parameters:
        return False
    gradients = by_book_keeping(structure, x, y)
    return gradients is not None and not gradients.others


def by_book_keeping(structure: Structure, x: Tensor, y: Tensor) -> BookKeptGradients | None:
    forward = ForwardPass.of(structure, PER_SAMPLE_LOSS, Rows.of(x), Rows.of(y), Draws(x.device, host=True))
    return book_keeping(forward, batch_axes(forward))


def assert_agrees(model: nn.Module, x: Tensor, y: Tensor, *, max_norm: float = 0.5) -> None:
    got, norms = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=max_norm)
    expected, expected_norms = clipped_mean(model, PER_SAMPLE_LOSS, x, y, max_norm)
    torch.testing.assert_close(norms, expected_norms, rtol=1e-9, atol=1e-9)
    assert_equal(got, expected)
    torch.testing.assert_close(per_sample_norms(model, PER_SAMPLE_LOSS, x, y), norms)


@quick
@given(data=st.data(), rows=st.sampled_from([1, 2, 5]), max_norm=st.sampled_from([0.0, 1e-3, 0.7, 1e6, float("inf")]))
def test_networks_of_linear_layers_agree_with_single_backward_passes(
    data: st.DataObject, rows: int, max_norm: float
) -> None:
    model, shape, classes = data.draw(dense_models())
    x, y = randn(rows, *shape), labels(rows, classes)
    assert takes_one_pass(model, x, y)
    assert_agrees(model, x, y, max_norm=max_norm)


@quick
@given(data=st.data(), rows=st.sampled_from([1, 3]))
def test_frozen_parameters_take_no_part(data: st.DataObject, rows: int) -> None:
    model, shape, classes = data.draw(dense_models())
    for p in model.parameters():
        p.requires_grad_(data.draw(st.booleans()))
    x, y = randn(rows, *shape), labels(rows, classes)
    assert takes_one_pass(model, x, y) or not any(p.requires_grad for p in model.parameters())
    assert_agrees(model, x, y)


@quick
@given(data=st.data(), rows=st.sampled_from([1, 4]))
def test_both_ways_agree(data: st.DataObject, rows: int) -> None:
    model, shape, classes = data.draw(dense_models())
    x, y, weights = randn(rows, *shape), labels(rows, classes), randn(rows, seed=1)
    structure = Structure.of(model)
    one = by_book_keeping(structure, x, y)
    assert one is not None
    if not structure.parameters:
        return
    other = model_gradients(structure, structure.parameters, PER_SAMPLE_LOSS, Rows.of(x), Rows.of(y))
    torch.testing.assert_close(one.norms, other.norms, rtol=1e-9, atol=1e-9)
    assert_equal(one.weighted_sum(weights), other.weighted_sum(weights))


@pytest.mark.parametrize("length", [1, 2, 40], ids=["one", "ghost", "instantiated"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
def test_both_norms_of_sequences_are_exact(length: int, bias: bool) -> None:
    model = filled(nn.Sequential(nn.Linear(9, 5, bias=bias), nn.Tanh(), Positions()))
    assert_agrees(model, randn(3, length, 9), labels(3, 5))


def test_rows_are_worked_off_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradshape.clipping.rules._linear_layer._BLOCK_ELEMENTS", 100)
    model = filled(nn.Sequential(nn.Linear(9, 5), Positions()))
    for length in (2, 40):
        assert_agrees(model, randn(7, length, 9), labels(7, 5))


def test_ghost_norms_survive_cancellation_in_single_precision() -> None:
    # The gradients of the two positions nearly cancel: squares in float32 would lose the norm.
    model = filled(nn.Linear(64, 64, bias=False)).float()
    first = randn(1, 1, 64).float()
    x = torch.cat([first, first + 1e-4 * randn(1, 1, 64, seed=1).float()], dim=1)

    def difference(out: Tensor, y: Tensor) -> Tensor:
        return (out[:, 0] - out[:, 1]).sum(-1)

    norms = per_sample_norms(model, difference, x, labels(1, 2))
    exact = (x[:, 0].double() - x[:, 1].double()).norm() * 8
    torch.testing.assert_close(norms[0].double(), exact, rtol=1e-6, atol=0)


class Branched(nn.Module):
    """Two nested branches, a skip connection, and a layer that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True))
        self.right = nn.ModuleDict({"inner": nn.Sequential(nn.Linear(4, 5, bias=False), nn.Tanh())})
        self.unused = nn.Linear(4, 4)
        self.discarded = nn.Linear(4, 4)
        self.out = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.discarded(x)
        out: Tensor = self.out(input=self.left(x) + self.right["inner"](x))
        return out


def test_layers_that_the_losses_do_not_depend_on_have_zero_gradient() -> None:
    model = filled(Branched())
    x, y = randn(4, 4), labels(4, 3)
    assert takes_one_pass(model, x, y)
    assert_agrees(model, x, y)
    gradient, _ = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=1.0)
    assert not gradient["unused.weight"].any()
    assert not gradient["discarded.bias"].any()


def test_buffers_and_layers_without_parameters_are_fine_and_stay_as_they_are() -> None:
    model = filled(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(6, affine=False), nn.Linear(6, 3))).eval()
    assert takes_one_pass(model, randn(4, 2, 3), labels(4, 3))
    assert_agrees(model, randn(4, 2, 3), labels(4, 3))

    running = filled(nn.Sequential(nn.InstanceNorm1d(2, track_running_stats=True), nn.Flatten(), nn.Linear(6, 3)))
    before = {name: value.clone() for name, value in running.state_dict().items()}
    clipped_gradient(running, PER_SAMPLE_LOSS, randn(4, 2, 3), labels(4, 3), max_norm=1.0)
    assert_equal(dict(running.state_dict()), before, tolerance=0)


def test_dropout_has_one_mask_for_norm_and_sum() -> None:
    model = filled(nn.Sequential(nn.Linear(6, 40), nn.Dropout(0.5), nn.Linear(40, 3)))
    x, y = randn(2, 6), labels(2, 3)
    assert takes_one_pass(model, x, y)
    only_first = torch.tensor([1.0, 0.0], dtype=torch.float64)
    gradient, norms = weighted_gradient(model, PER_SAMPLE_LOSS, x, y, lambda norms: only_first)
    size = torch.stack([g.norm() for g in gradient.values()]).norm()
    torch.testing.assert_close(size, norms[0])


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(torch.tanh(self.layer(x)))
        return out


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(4, 4), nn.Linear(4, 4)
        self.other.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.other(torch.tanh(self.one(x)))
        return out


class AlsoFunctional(nn.Module):
    """The weight of one layer is used behind its back, once with and once without a call of the layer."""

    def __init__(self, *, called: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.called = called

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.layer(x) if self.called else x
        return F.linear(torch.tanh(hidden), self.layer.weight)


class CalledInVain(nn.Module):
    """The call does not reach the losses, another use of the weight does."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        self.layer(x)
        return F.linear(x, self.layer.weight, self.layer.bias)


class Scaled(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


class SequenceFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x.transpose(0, 1)).pow(2).mean(0)
        return out


class SequenceFirstFlat(SequenceFirst):
    def forward(self, x: Tensor) -> Tensor:
        length, batch, parts = x.shape[1], x.shape[0], x.shape[2]
        out: Tensor = self.layer(x.transpose(0, 1).reshape(length, batch * parts, 4))
        return out.reshape(length, batch, parts, 4).pow(2).mean((0, 2))


class Folded(SequenceFirst):
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x.reshape(-1, 4))
        return out.reshape(len(x), -1, 4).pow(2).mean(1)


class WritesToInput(nn.Module):
    """Overwrites the input of a layer after the call."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone()
        out: Tensor = self.layer(x)
        x.add_(1)
        return out


def patched() -> nn.Module:
    layer = nn.Linear(4, 4)
    inner = layer.forward
    layer.forward = lambda input: 2 * inner(input)  # type: ignore[method-assign]
    return layer


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        pytest.param(Twice(), (4,), id="called-twice"),
        pytest.param(Tied(), (4,), id="tied"),
        pytest.param(AlsoFunctional(called=True), (4,), id="called-and-used"),
        pytest.param(AlsoFunctional(called=False), (4,), id="used-only"),
        pytest.param(CalledInVain(), (4,), id="called-in-vain"),
        pytest.param(Scaled(4, 4), (4,), id="subclass"),
        pytest.param(patched(), (4,), id="patched"),
        pytest.param(SequenceFirstFlat(), (5, 2, 4), id="sequence-first-flat"),
        pytest.param(Folded(), (3, 4), id="positions-folded-into-the-batch"),
        pytest.param(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), (4,), id="weight-norm"),
    ],
)
def test_where_the_rules_would_be_wrong_the_other_way_is_taken(model: nn.Module, shape: tuple[int, ...]) -> None:
    model = filled(model)
    x, y = randn(5, *shape), labels(5, 4)
    assert not takes_one_pass(model, x, y)
    assert_agrees(model, x, y)


@pytest.mark.parametrize("length", [3, 5], ids=["shorter", "as-long-as-the-batch"])
def test_a_batch_on_another_axis_does_not_cost_the_one_pass(length: int) -> None:
    model, x, y = filled(SequenceFirst()), randn(5, length, 4), labels(5, 4)
    assert takes_one_pass(model, x, y)
    assert_agrees(model, x, y)


def test_an_axis_as_long_as_the_batch_does_not_cost_the_one_pass() -> None:
    model = filled(nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True), Positions()))
    x, y = randn(5, 5, 4), labels(5, 3)
    assert takes_one_pass(model, x, y)
    assert_agrees(model, x, y)


def test_an_input_that_is_overwritten_after_the_call_is_refused_as_autograd_does() -> None:
    with pytest.raises(ValueError, match="modified by an inplace operation"):
        per_sample_norms(filled(WritesToInput()), PER_SAMPLE_LOSS, randn(3, 4), labels(3, 4))


def test_a_loss_that_looks_at_the_parameters_counts() -> None:
    model = filled(nn.Linear(4, 3))
    x, y = randn(3, 4), labels(3, 3)

    def penalised(logits: Tensor, y: Tensor) -> Tensor:
        losses: Tensor = PER_SAMPLE_LOSS(logits, y)
        return losses + model.weight.pow(2).sum()

    got, _ = clipped_gradient(model, penalised, x, y, max_norm=0.5)
    assert_equal(got, clipped_mean(model, penalised, x, y, 0.5)[0])


def test_hooks_of_others_keep_working() -> None:
    model = filled(nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3)))
    model[0].register_forward_hook(lambda module, args, output: output.mul(3))
    model[1].register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    x, y = randn(4, 4), labels(4, 3)
    assert takes_one_pass(model, x, y)
    assert_agrees(model, x, y)


def test_no_hook_stays_behind_when_the_model_fails() -> None:
    class Broken(nn.Sequential):
        def forward(self, input: Any) -> Any:
            self[0](input)
            raise RuntimeError("broken on purpose")

    model = Broken(nn.Linear(4, 3))
    with pytest.raises(RuntimeError, match="broken on purpose"):
        per_sample_norms(model, PER_SAMPLE_LOSS, torch.ones(2, 4), labels(2, 3))
    assert not model[0]._forward_hooks


def test_single_precision_clips_to_the_limit() -> None:
    model = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 4))
    x, y = 10 * randn(16, 20).float(), labels(16, 4)
    _, norms = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=0.1)
    assert norms.dtype == torch.float32
    for i, row in enumerate(per_sample_gradients(model, PER_SAMPLE_LOSS, x, y)):
        one, _ = clipped_gradient(model, PER_SAMPLE_LOSS, x[i : i + 1], y[i : i + 1], max_norm=0.1)
        assert torch.stack([g.double().norm() for g in one.values()]).norm() <= 0.1 * (1 + 1e-6)
        size = torch.stack([g.double().norm() for g in row.values()]).norm()
        torch.testing.assert_close(norms[i].double(), size, rtol=1e-5, atol=1e-6)


def test_norms_of_half_precision_models_are_single_precision() -> None:
    model = nn.Linear(4, 3).to(torch.bfloat16)
    gradient, norms = clipped_gradient(
        model, PER_SAMPLE_LOSS, torch.full((2, 4), 100.0, dtype=torch.bfloat16), labels(2, 3), max_norm=1.0
    )
    assert norms.dtype == torch.float32
    assert {g.dtype for g in gradient.values()} == {torch.bfloat16}
