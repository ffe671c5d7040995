"""Models that mix samples and impossible microbatches are refused; dropout is not."""

import pytest
import torch
from torch import nn

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
