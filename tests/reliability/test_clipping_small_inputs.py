"""Small models whose norms came out wrong once: each is exact now."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from gradshape.clipping import clipped_gradient, per_sample_norms
from tests.clipping.naive import (
    PER_SAMPLE_LOSS,
    LossFn,
    assert_equal,
    clipped_mean,
    filled,
    labels,
    randn,
)


def assert_exact(model: nn.Module, x: Tensor, y: Tensor, loss_fn: LossFn = PER_SAMPLE_LOSS) -> None:
    got, norms = clipped_gradient(model, loss_fn, x, y, max_norm=0.5)
    expected, expected_norms = clipped_mean(model, loss_fn, x, y, 0.5)
    torch.testing.assert_close(norms, expected_norms, rtol=1e-9, atol=1e-9)
    assert_equal(got, expected)


@dataclasses.dataclass
class Output:
    logits: Tensor


class ByIndex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 8), nn.Linear(8, 3), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Output:
        order = torch.arange(len(x)).flip(0)
        return Output(self.b(self.a(x)[order])[order] + self.c(x))


def test_rows_reordered_by_index_with_logits_in_a_dataclass() -> None:
    def loss(output: object, y: Tensor) -> Tensor:
        assert isinstance(output, Output)
        losses: Tensor = PER_SAMPLE_LOSS(output.logits, y)
        return losses

    assert_exact(filled(ByIndex()), randn(6, 5), labels(6, 3), loss)


class ByValue(nn.Module):
    """Sorts its rows by cuts and joins that differ from batch to batch, without an index in the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        order = x[:, 0].argsort()
        hidden = self.a(x[order]).tanh()
        out: Tensor = self.b(torch.cat([hidden[i : i + 1] for i in order.argsort().tolist()]))
        return out


@pytest.mark.parametrize("rows", [2, 6])
def test_rows_sorted_in_one_batch_and_not_in_the_next(rows: int) -> None:
    model, x, y = filled(ByValue()), randn(rows, 5), labels(rows, 3)
    in_order = x[x[:, 0].argsort()]
    for batch in (in_order, in_order.flip(0), x):
        assert_exact(model, batch, y)


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.out = nn.MultiheadAttention(6, 2, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        batch_first = self.attention.batch_first
        x = x if batch_first else x.transpose(0, 1)
        attended = self.attention(x, x, x, need_weights=False)[0]
        out: Tensor = self.out(attended.mean(1 if batch_first else 0))
        return out


def test_attention_whose_batch_axis_moves_between_calls() -> None:
    model, x, y = filled(Attends()), randn(4, 4, 6), labels(4, 3)
    for model.attention.batch_first in (True, False, True):
        assert_exact(model, x, y)


class Packed(nn.Module):
    def __init__(self, *, sort: bool) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(9, 4, padding_idx=0), nn.Linear(5, 3)
        self.recurrent = nn.GRU(4, 5, batch_first=True)
        self.sort = sort

    def forward(self, ids: Tensor) -> Tensor:
        lengths = (ids != 0).sum(1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embedding(ids), lengths, batch_first=True, enforce_sorted=not self.sort
        )
        padded, _ = nn.utils.rnn.pad_packed_sequence(self.recurrent(packed)[0], batch_first=True)
        out: Tensor = self.head(padded.sum(1))
        return out


@pytest.mark.parametrize("sort", [False, True])
def test_packed_sequences(sort: bool) -> None:
    ids = torch.tensor([[1, 2, 3, 8], [7, 4, 5, 0], [4, 5, 0, 0], [6, 0, 0, 0]])
    model = filled(Packed(sort=sort))
    assert_exact(model, ids, labels(4, 3))
    if sort:
        assert_exact(model, ids[[2, 0, 3, 1]], labels(4, 3))


class Padded(nn.Module):
    """Leaves out the positions that are padded, row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        there = x.abs().sum(-1, keepdim=True) > 0
        hidden = self.body(x).tanh() * there
        out: Tensor = self.head(hidden.sum(1) / there.sum(1).clamp(min=1))
        return out


def test_padded_positions() -> None:
    x = randn(4, 3, 4)
    x[1, 2:] = 0
    x[3] = 0
    assert_exact(filled(Padded()), x, labels(4, 3))


class Listed(nn.Module):
    """Uses a weight that it also holds in a list, where no functional call replaces it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.weights = [self.layer.weight]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = nn.functional.linear(self.layer(x).tanh(), self.weights[0])
        return out


def test_a_weight_in_a_list_of_the_users_own() -> None:
    assert_exact(filled(Listed()), randn(5, 4), labels(5, 4))


class SeenFromOutside(nn.Module):
    """A layer without a rule that reads something of the batch beside its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = Shifted()

    def forward(self, x: Tensor) -> Tensor:
        self.layer.by = x.sum(1, keepdim=True)
        out: Tensor = self.layer(x)
        return out


class Shifted(nn.Module):
    by: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.by).tanh() * self.factor


def test_a_layer_that_reads_the_batch_beside_its_arguments() -> None:
    assert_exact(filled(SeenFromOutside()), randn(5, 4), labels(5, 4))


class Shrinking(torch.autograd.Function):
    """An operation whose gradient depends on the number of rows."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> Tensor:
        return grads[0] / len(grads[0])


class Shrinks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = Shrinking.apply(self.layer(x))  # type: ignore[no-untyped-call]
        return out


def test_an_operation_whose_gradient_depends_on_the_number_of_rows() -> None:
    assert_exact(filled(Shrinks()), randn(5, 4), labels(5, 4))


def test_rows_that_the_model_writes_to() -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.GRUCell(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.layer(x.mul_(2))
            return out

    x = randn(5, 4)
    got = per_sample_norms(filled(Writes()), PER_SAMPLE_LOSS, x, labels(5, 4))
    assert torch.equal(x, randn(5, 4))
    expected = clipped_mean(filled(Writes()), PER_SAMPLE_LOSS, x, labels(5, 4), 1.0)[1]
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
