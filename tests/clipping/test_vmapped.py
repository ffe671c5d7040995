"""Modules without a rule agree with each sample's own backward pass, in chunks of any size."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gradshape.clipping import clipped_gradient, per_sample_norms, weighted_gradient
from tests.clipping.naive import PER_SAMPLE_LOSS, assert_equal, clipped_mean, filled, labels, norm, randn

# The last two rows of the embedded ids are never drawn.
IDS = torch.randint(0, 7, (5, 6), generator=torch.Generator().manual_seed(0))


class LastState(nn.Module):
    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell, self.head = cell, nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.cell(x)[0][:, -1])
        return out


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=1, dilation=(1, 2)),
        nn.GroupNorm(2, 4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 4, 1, groups=2, bias=False),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.LazyLinear(3),
    )


def built(model: nn.Module, x: Tensor) -> nn.Module:
    model(x.float() if x.is_floating_point() else x)
    return filled(model)


MODELS = [
    pytest.param(convolutional, randn(5, 2, 9, 6), id="conv-groupnorm"),
    pytest.param(
        lambda: nn.Sequential(nn.Embedding(9, 4, padding_idx=0), nn.LayerNorm(4), nn.Flatten(), nn.LazyLinear(3)),
        IDS,
        id="embedding-layernorm",
    ),
    pytest.param(
        lambda: nn.Sequential(
            nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True), nn.Flatten(), nn.LazyLinear(3)
        ),
        randn(5, 6, 4),
        id="transformer",
    ),
    pytest.param(
        lambda: nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3).eval(), nn.PReLU(), nn.Flatten(), nn.LazyLinear(3)),
        randn(5, 2, 8),
        id="batchnorm-in-eval",
    ),
    pytest.param(lambda: LastState(nn.LSTM(2, 4, batch_first=True)), randn(5, 6, 2), id="lstm"),
    pytest.param(lambda: LastState(nn.GRU(2, 4, batch_first=True)), randn(5, 6, 2), id="gru-which-vmap-refuses"),
    pytest.param(
        lambda: nn.Sequential(
            nn.InstanceNorm1d(2, affine=True, track_running_stats=True), nn.Flatten(), nn.LazyLinear(3)
        ),
        randn(5, 2, 6),
        id="running-statistics-of-instances",
    ),
]


@pytest.mark.parametrize(("build", "x"), MODELS)
@pytest.mark.parametrize("microbatch", [None, 2], ids=["whole", "parts"])
def test_other_modules_agree_with_single_backward_passes(
    build: Callable[[], nn.Module], x: Tensor, microbatch: int | None
) -> None:
    model, y = built(build(), x), labels(5, 3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    got, norms = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=0.5, microbatch=microbatch)
    assert_equal(dict(model.state_dict()), before, tolerance=0)
    expected, expected_norms = clipped_mean(model, PER_SAMPLE_LOSS, x, y, 0.5)
    torch.testing.assert_close(norms, expected_norms, rtol=1e-9, atol=1e-9)
    assert_equal(got, expected)
    torch.testing.assert_close(per_sample_norms(model, PER_SAMPLE_LOSS, x, y, microbatch=microbatch), norms)


@settings(max_examples=15)
@given(
    data=st.data(),
    rows=st.sampled_from([1, 3]),
    max_norm=st.sampled_from([0.0, 0.3, 1e6, float("inf")]),
    frozen=st.sets(st.sampled_from(["0.weight", "0.bias", "1.weight", "4.weight"])),
)
def test_random_convolutions_agree(data: st.DataObject, rows: int, max_norm: float, frozen: set[str]) -> None:
    channels, kernel = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    height, width = data.draw(st.integers(3, 6)), data.draw(st.integers(3, 6))
    conv = nn.Conv2d(channels, 4, kernel, stride=data.draw(st.integers(1, 2)), padding=data.draw(st.integers(0, 2)))
    x = randn(rows, channels, height, width)
    model = built(nn.Sequential(conv, nn.GroupNorm(2, 4), nn.Tanh(), nn.Flatten(), nn.LazyLinear(3)), x)
    for name, p in model.named_parameters():
        p.requires_grad_(name not in frozen)
    y = labels(rows, 3)
    got, norms = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=max_norm)
    expected, expected_norms = clipped_mean(model, PER_SAMPLE_LOSS, x, y, max_norm)
    torch.testing.assert_close(norms, expected_norms, rtol=1e-9, atol=1e-9)
    assert_equal(got, expected)


@pytest.mark.parametrize("microbatch", [None, 1])
def test_dropout_has_one_mask_for_norm_and_sum(microbatch: int | None) -> None:
    model = filled(nn.Sequential(nn.Conv1d(2, 20, 2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(100, 3)))
    x, y = randn(3, 2, 6), labels(3, 3)
    for i in range(3):
        only = torch.eye(3, dtype=torch.float64)[i]

        def weights(norms: Tensor, only: Tensor = only) -> Tensor:
            torch.rand(4)  # the weights may be random too
            return only

        gradient, norms = weighted_gradient(model, PER_SAMPLE_LOSS, x, y, weights, microbatch=microbatch)
        torch.testing.assert_close(norm(gradient), norms[i])


def test_dropout_differs_between_samples_and_calls() -> None:
    model = filled(nn.Sequential(nn.Conv1d(2, 20, 2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(100, 3)))
    x, y = randn(1, 2, 6).expand(3, 2, 6), torch.zeros(3, dtype=torch.int64)
    for microbatch in (None, 1):
        norms = torch.cat([per_sample_norms(model, PER_SAMPLE_LOSS, x, y, microbatch=microbatch) for _ in range(2)])
        assert len(set(norms.tolist())) == 6


def test_an_error_of_the_model_is_what_the_caller_sees() -> None:
    class Broken(nn.Conv1d):
        def forward(self, input: Tensor) -> Tensor:
            raise RuntimeError("broken on purpose")

    with pytest.raises(RuntimeError, match="broken on purpose"):
        per_sample_norms(Broken(2, 3, 2), PER_SAMPLE_LOSS, torch.ones(2, 2, 6), labels(2, 3))


def test_parameters_of_any_shape_are_fine() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
            self.empty = nn.Parameter(torch.zeros(0, 3, dtype=torch.float64))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scale + self.empty.sum()

    model, x, y = Odd(), randn(3, 4), labels(3, 4)
    got, _ = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=0.5)
    assert_equal(got, clipped_mean(model, PER_SAMPLE_LOSS, x, y, 0.5)[0])
