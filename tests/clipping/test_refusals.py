"""Models that mix samples and impossible microbatches are refused; dropout is not."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from gradshape.clipping import per_sample
from tests.clipping.architectures import (
    CLASSES,
    ROWS,
    Logits,
    Scale,
)
from tests.clipping.cases.every import assert_close, measure
from tests.clipping.cases.whole import WHOLE
from tests.clipping.naive import (
    PER_SAMPLE_LOSS,
    filled,
    labels,
    norm,
    per_sample_gradients,
    randn,
)


@pytest.mark.parametrize(
    ("mixing", "shape"),
    [
        pytest.param(nn.BatchNorm1d(4), (4,), id="batchnorm1d"),
        pytest.param(nn.BatchNorm1d(4), (4, 3), id="batchnorm1d-sequence"),
        pytest.param(nn.BatchNorm2d(4), (4, 3, 2), id="batchnorm2d"),
        pytest.param(nn.BatchNorm3d(4), (4, 2, 3, 2), id="batchnorm3d"),
        pytest.param(nn.SyncBatchNorm(4), (4, 3), id="syncbatchnorm"),
        pytest.param(nn.BatchNorm1d(4, affine=False), (4,), id="batchnorm-without-parameters"),
        pytest.param(nn.BatchNorm1d(4).requires_grad_(False), (4,), id="batchnorm-frozen"),
        pytest.param(nn.BatchNorm1d(4, track_running_stats=False).eval(), (4,), id="batchnorm-of-batches-in-eval"),
    ],
)
@pytest.mark.parametrize("rows", [0, 1, ROWS])
def test_what_normalises_over_the_batch_is_refused_with_its_replacement(
    mixing: nn.Module, shape: tuple[int, ...], rows: int
) -> None:
    model = filled(nn.Sequential(nn.Identity(), mixing, Logits()))
    with pytest.raises(ValueError, match=r"1 is a \w*BatchNorm\w* .*mixes samples.*GroupNorm"):
        per_sample(model, PER_SAMPLE_LOSS, randn(rows, *shape), labels(rows, CLASSES))


@pytest.mark.parametrize("microbatch", [0, -1])
def test_a_microbatch_of_no_samples_is_refused(microbatch: int) -> None:
    with pytest.raises(ValueError, match=f"microbatch={microbatch}"):
        measure(WHOLE["dense"], microbatch=microbatch)


def test_dropout_has_one_mask_for_squares_and_sum() -> None:
    model = filled(nn.Sequential(Scale(4), nn.Dropout(0.5), nn.Linear(4, 20), nn.Dropout(0.5), Logits()))
    got = per_sample(model, PER_SAMPLE_LOSS, randn(ROWS, 4), labels(ROWS, CLASSES), microbatch=2)
    for i in range(ROWS):
        only = torch.eye(ROWS, dtype=torch.float64)[i]
        assert_close(norm(got.weighted_sum(only)), got.norms[i])


class Tied(nn.Module):
    """A model that takes batches of ``ROWS`` rows only."""

    places: torch.Tensor

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.a, self.kind = nn.Linear(4, CLASSES), kind
        self.register_buffer("places", torch.arange(ROWS, dtype=torch.int32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "places":
            x = x[self.places]
        elif self.kind == "parts":
            one, other = x.chunk(2)
            x = torch.cat([one, other])
        else:
            x = x.view(ROWS, 1, -1).squeeze(1)
        out: torch.Tensor = self.a(x)
        return out


@pytest.mark.parametrize("kind", ["places", "parts", "view"])
def test_a_model_that_takes_one_size_of_batches_is_told_that_single_rows_were_tried(kind: str) -> None:
    model = filled(Tied(kind))
    with pytest.raises(ValueError, match=r"Tied raised \w+Error .* a row was passed alone.*any number of rows") as told:
        per_sample(model, PER_SAMPLE_LOSS, randn(ROWS, 4), labels(ROWS, CLASSES))
    # The line of the model that it comes from is shown, too.
    assert any(entry.frame.code.name == "forward" and entry.path == told.traceback[0].path for entry in told.traceback)


class Hooked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.o = nn.Linear(4, 4), Logits()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.a(x)
        h.register_hook(lambda g: 2 * g)
        (slope,) = torch.autograd.grad(h.square().sum(), h, create_graph=True)
        out: torch.Tensor = self.o(h + slope)
        return out


def test_a_forward_pass_may_ask_for_gradients() -> None:
    model, x, y = filled(Hooked()), randn(ROWS, 4), labels(ROWS, CLASSES)
    rows = per_sample_gradients(model, PER_SAMPLE_LOSS, x, y)
    torch.testing.assert_close(
        per_sample(model, PER_SAMPLE_LOSS, x, y).norms, torch.stack([norm(gradient) for gradient in rows])
    )


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.o = nn.Linear(4, 4), nn.Linear(4, 4), Logits()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.o(checkpoint(self.b, self.a(x), use_reentrant=True))
        return out


def test_reentrant_checkpoints_are_refused_with_their_replacement() -> None:
    with pytest.raises(ValueError, match=r"model: Checkpointed raised .* expected .*use_reentrant=False"):
        per_sample(filled(Checkpointed()), PER_SAMPLE_LOSS, randn(ROWS, 4), labels(ROWS, CLASSES))
