"""Layers of all kinds, each alone and between other layers."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, prune

from tests.clipping.architectures import (
    CLASSES,
    ROWS,
    Apply,
    Attention,
    Case,
    First,
    Logits,
    Scale,
    case,
    transposed,
)
from tests.clipping.naive import (
    labels,
    randn,
)

Build = Callable[[], nn.Module]
# Of each: what builds the layer, the shape of its rows, and how it is called.
LayerTable = dict[str, tuple[Build, tuple[int, ...]]]

LINEAR: LayerTable = {
    "linear-2d": (partial(nn.Linear, 4, 3), (4,)),
    "linear-2d-no-bias": (partial(nn.Linear, 4, 3, bias=False), (4,)),
    "linear-3d": (partial(nn.Linear, 4, 3), (3, 4)),
    "linear-3d-long": (partial(nn.Linear, 2, 3), (20, 2)),
    "linear-3d-no-bias": (partial(nn.Linear, 4, 3, bias=False), (3, 4)),
    "linear-3d-as-long-as-the-batch": (partial(nn.Linear, 4, 3), (ROWS, 4)),
    "linear-3d-one-position": (partial(nn.Linear, 4, 3), (1, 4)),
    "linear-4d": (partial(nn.Linear, 4, 3), (2, 3, 4)),
    "linear-4d-square": (partial(nn.Linear, ROWS, ROWS), (ROWS, ROWS, ROWS)),
    "linear-5d": (partial(nn.Linear, 3, 2), (2, 1, 2, 3)),
    "linear-one-to-one": (partial(nn.Linear, 1, 1), (1,)),
    "bilinear": (lambda: Halves(nn.Bilinear(2, 3, 4)), (5,)),
    "bilinear-sequence-no-bias": (lambda: Halves(nn.Bilinear(2, 3, 4, bias=False)), (3, 5)),
    "identity": (nn.Identity, (4,)),
}

CONVOLUTIONS: LayerTable = {
    "conv1d": (partial(nn.Conv1d, 2, 3, 3), (2, 7)),
    "conv1d-no-bias": (partial(nn.Conv1d, 2, 3, 3, bias=False), (2, 7)),
    "conv1d-stride-leaves-a-rest": (partial(nn.Conv1d, 2, 3, 3, stride=3), (2, 8)),
    "conv1d-padding": (partial(nn.Conv1d, 2, 3, 3, padding=2), (2, 4)),
    "conv1d-dilation": (partial(nn.Conv1d, 2, 3, 2, dilation=3), (2, 7)),
    "conv1d-same": (partial(nn.Conv1d, 2, 3, 3, padding="same", dilation=2), (2, 5)),
    "conv1d-valid": (partial(nn.Conv1d, 2, 3, 3, padding="valid"), (2, 5)),
    "conv1d-depthwise": (partial(nn.Conv1d, 3, 3, 3, groups=3), (3, 5)),
    "conv1d-depthwise-multiplied": (partial(nn.Conv1d, 3, 6, 2, groups=3, bias=False), (3, 5)),
    "conv1d-groups": (partial(nn.Conv1d, 4, 6, 2, groups=2), (4, 5)),
    "conv1d-one-place": (partial(nn.Conv1d, 2, 3, 5), (2, 5)),
    "conv1d-one-place-strided": (partial(nn.Conv1d, 2, 3, 3, stride=4), (2, 5)),
    "conv1d-kernel-1": (partial(nn.Conv1d, 2, 3, 1), (2, 5)),
    "conv1d-long": (partial(nn.Conv1d, 1, 2, 2), (1, 30)),
    "conv1d-as-many-channels-as-rows": (partial(nn.Conv1d, ROWS, ROWS, 1), (ROWS, ROWS)),
    "conv1d-reflect": (partial(nn.Conv1d, 2, 3, 3, padding=2, padding_mode="reflect"), (2, 4)),
    "conv1d-replicate": (partial(nn.Conv1d, 2, 3, 3, padding=2, padding_mode="replicate"), (2, 4)),
    "conv1d-circular": (partial(nn.Conv1d, 2, 3, 3, padding=2, padding_mode="circular"), (2, 4)),
    "conv1d-same-circular": (partial(nn.Conv1d, 2, 3, 3, padding="same", padding_mode="circular"), (2, 4)),
    "conv2d": (partial(nn.Conv2d, 2, 3, 3), (2, 6, 5)),
    "conv2d-no-bias": (partial(nn.Conv2d, 2, 3, 3, bias=False), (2, 6, 5)),
    "conv2d-non-square": (partial(nn.Conv2d, 2, 3, (1, 4)), (2, 3, 6)),
    "conv2d-stride": (partial(nn.Conv2d, 2, 3, (3, 2), stride=(2, 3)), (2, 6, 7)),
    "conv2d-padding": (partial(nn.Conv2d, 2, 3, (3, 2), padding=(2, 1)), (2, 3, 2)),
    "conv2d-dilation": (partial(nn.Conv2d, 2, 3, 2, dilation=(1, 3)), (2, 3, 6)),
    "conv2d-all-at-once": (
        partial(nn.Conv2d, 4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(2, 3), groups=2),
        (4, 6, 5),
    ),
    "conv2d-same": (partial(nn.Conv2d, 2, 3, (3, 5), padding="same"), (2, 4, 3)),
    "conv2d-depthwise": (partial(nn.Conv2d, 4, 4, 3, groups=4, padding=1), (4, 4, 3)),
    "conv2d-groups-no-bias": (partial(nn.Conv2d, 4, 2, 2, groups=2, bias=False), (4, 3, 4)),
    "conv2d-one-place": (partial(nn.Conv2d, 2, 3, (4, 3)), (2, 4, 3)),
    "conv2d-one-pixel": (partial(nn.Conv2d, 2, 3, 1), (2, 1, 1)),
    "conv2d-padding-unused": (partial(nn.Conv2d, 2, 3, 3, padding=1, stride=4), (2, 3, 3)),
    "conv2d-reflect": (partial(nn.Conv2d, 2, 3, 3, padding=(1, 2), padding_mode="reflect"), (2, 3, 4)),
    "conv2d-replicate": (partial(nn.Conv2d, 2, 3, 3, padding=(1, 2), padding_mode="replicate"), (2, 3, 2)),
    "conv2d-circular": (partial(nn.Conv2d, 2, 3, 3, padding=(1, 2), padding_mode="circular"), (2, 3, 4)),
    "conv2d-channels-last": (lambda: Apply(nn.Conv2d(2, 3, 2), before=channels_last), (2, 4, 3)),
    "conv3d": (partial(nn.Conv3d, 2, 3, 2), (2, 3, 4, 2)),
    "conv3d-all-at-once": (
        partial(nn.Conv3d, 2, 4, (2, 1, 3), stride=(1, 2, 1), padding=(1, 0, 2), dilation=(2, 1, 1), groups=2),
        (2, 3, 4, 2),
    ),
    "conv3d-depthwise-same": (partial(nn.Conv3d, 2, 2, (1, 3, 3), groups=2, padding="same", bias=False), (2, 2, 3, 2)),
    "conv3d-replicate": (partial(nn.Conv3d, 1, 2, 3, padding=1, padding_mode="replicate"), (1, 2, 3, 2)),
    "conv3d-one-place": (partial(nn.Conv3d, 2, 3, (2, 1, 3)), (2, 2, 1, 3)),
    "conv-transpose1d": (partial(nn.ConvTranspose1d, 2, 3, 3, stride=2, output_padding=1), (2, 4)),
    "conv-transpose2d": (
        partial(nn.ConvTranspose2d, 2, 4, (3, 2), stride=2, padding=1, groups=2, dilation=2),
        (2, 3, 4),
    ),
    "conv-transpose2d-no-bias": (partial(nn.ConvTranspose2d, 2, 3, 2, bias=False), (2, 3, 2)),
    "conv-transpose3d": (partial(nn.ConvTranspose3d, 1, 2, 2), (1, 2, 3, 2)),
}

NORMS: LayerTable = {
    "layernorm-2d": (partial(nn.LayerNorm, 4), (4,)),
    "layernorm-1-axis": (partial(nn.LayerNorm, 4), (3, 4)),
    "layernorm-1-axis-as-long-as-the-batch": (partial(nn.LayerNorm, 4), (ROWS, 4)),
    "layernorm-1-axis-4d": (partial(nn.LayerNorm, 4, eps=0.1), (2, 3, 4)),
    "layernorm-2-axes": (partial(nn.LayerNorm, (3, 4)), (2, 3, 4)),
    "layernorm-2-axes-whole-row": (partial(nn.LayerNorm, (3, 4)), (3, 4)),
    "layernorm-3-axes": (partial(nn.LayerNorm, (2, 3, 4)), (2, 3, 4)),
    "layernorm-3-axes-no-bias": (partial(nn.LayerNorm, (2, 3, 4), bias=False), (5, 2, 3, 4)),
    "layernorm-no-bias": (partial(nn.LayerNorm, 4, bias=False), (3, 4)),
    "layernorm-not-affine": (partial(nn.LayerNorm, 4, elementwise_affine=False), (3, 4)),
    "layernorm-square": (partial(nn.LayerNorm, (ROWS, ROWS)), (ROWS, ROWS)),
    "rmsnorm-2d": (partial(nn.RMSNorm, 4), (4,)),
    "rmsnorm-1-axis": (partial(nn.RMSNorm, 4, eps=0.1), (3, 4)),
    "rmsnorm-2-axes": (partial(nn.RMSNorm, (3, 4)), (2, 3, 4)),
    "rmsnorm-not-affine": (partial(nn.RMSNorm, 4, elementwise_affine=False), (3, 4)),
    "groupnorm-1-group-no-axis": (partial(nn.GroupNorm, 1, 6), (6,)),
    "groupnorm-some-groups-no-axis": (partial(nn.GroupNorm, 3, 6), (6,)),
    "groupnorm-some-groups-1-axis": (partial(nn.GroupNorm, 2, 6, eps=0.1), (6, 3)),
    "groupnorm-all-groups-1-axis": (partial(nn.GroupNorm, 6, 6), (6, 3)),
    "groupnorm-1-group-2-axes": (partial(nn.GroupNorm, 1, 6), (6, 2, 3)),
    "groupnorm-some-groups-2-axes": (partial(nn.GroupNorm, 3, 6), (6, 2, 3)),
    "groupnorm-all-groups-3-axes": (partial(nn.GroupNorm, 4, 4), (4, 2, 1, 3)),
    "groupnorm-not-affine": (partial(nn.GroupNorm, 2, 6, affine=False), (6, 3)),
    "groupnorm-as-many-channels-as-rows": (partial(nn.GroupNorm, ROWS, ROWS), (ROWS, ROWS)),
    "instancenorm1d": (partial(nn.InstanceNorm1d, 3, affine=True), (3, 4)),
    "instancenorm2d": (partial(nn.InstanceNorm2d, 3, affine=True, eps=0.1), (3, 2, 4)),
    "instancenorm3d": (partial(nn.InstanceNorm3d, 2, affine=True), (2, 2, 1, 3)),
    "instancenorm-not-affine": (partial(nn.InstanceNorm2d, 3), (3, 2, 4)),
    "instancenorm-running-in-eval": (
        lambda: measured_before(nn.InstanceNorm1d(3, affine=True, track_running_stats=True)),
        (3, 4),
    ),
    "batchnorm1d-in-eval": (lambda: measured_before(nn.BatchNorm1d(3)), (3,)),
    "batchnorm1d-in-eval-sequence": (lambda: measured_before(nn.BatchNorm1d(3)), (3, 4)),
    "batchnorm2d-in-eval": (lambda: measured_before(nn.BatchNorm2d(3)), (3, 2, 4)),
    "batchnorm3d-in-eval": (lambda: measured_before(nn.BatchNorm3d(2)), (2, 2, 1, 3)),
    "batchnorm-in-eval-not-affine": (lambda: measured_before(nn.BatchNorm1d(3, affine=False)), (3, 4)),
    "syncbatchnorm-in-eval": (lambda: measured_before(nn.SyncBatchNorm(3)), (3, 4)),
}

ATTENTION: LayerTable = {
    "attention": (partial(Attention, batch_first=True), (4, 4)),
    "attention-sequence-first": (partial(Attention, batch_first=False), (3, 4)),
    "attention-sequence-first-as-long-as-the-batch": (partial(Attention, batch_first=False), (ROWS, 4)),
    "attention-as-long-as-the-batch": (partial(Attention, batch_first=True), (ROWS, 4)),
    "attention-one-position": (partial(Attention, batch_first=True), (1, 4)),
    "attention-no-bias": (partial(Attention, batch_first=True, bias=False), (3, 4)),
    "attention-kdim-vdim": (partial(Attention, batch_first=True, kdim=3, vdim=5), (4, 4)),
    "attention-kdim-vdim-no-bias-sequence-first": (
        partial(Attention, batch_first=False, kdim=3, vdim=5, bias=False),
        (4, 4),
    ),
    "attention-bias-kv": (partial(Attention, batch_first=True, add_bias_kv=True), (3, 4)),
    "attention-zero-attn-bias-kv-padding": (
        partial(Attention, batch_first=False, add_bias_kv=True, add_zero_attn=True, mask="padding"),
        (3, 4),
    ),
    "attention-weights": (partial(Attention, batch_first=True, weights=True), (3, 4)),
    "attention-weights-of-each-head": (partial(Attention, batch_first=False, weights=True, average=False), (3, 4)),
    "attention-weights-padding": (partial(Attention, batch_first=True, weights=True, mask="padding"), (4, 4)),
    "attention-padding": (partial(Attention, batch_first=True, mask="padding"), (4, 4)),
    "attention-causal": (partial(Attention, batch_first=True, mask="causal"), (4, 4)),
    "attention-float-mask": (partial(Attention, batch_first=False, mask="float"), (4, 4)),
    "attention-mask-of-each-row-and-head": (partial(Attention, batch_first=True, mask="heads"), (4, 4)),
    "attention-in-eval": (lambda: Attention(batch_first=True).eval(), (4, 4)),
    "encoder-layer": (partial(nn.TransformerEncoderLayer, 4, 2, 6, 0.0, batch_first=True), (3, 4)),
    "encoder-layer-norm-first": (
        partial(nn.TransformerEncoderLayer, 4, 2, 6, 0.0, batch_first=True, norm_first=True, activation="gelu"),
        (3, 4),
    ),
    "encoder-layer-no-bias": (
        partial(nn.TransformerEncoderLayer, 4, 2, 6, 0.0, batch_first=True, bias=False),
        (3, 4),
    ),
    "encoder-layer-sequence-first": (lambda: transposed(nn.TransformerEncoderLayer(4, 2, 6, 0.0), 0, 1), (ROWS, 4)),
    "encoder-layer-in-eval": (lambda: nn.TransformerEncoderLayer(4, 2, 6, 0.9, batch_first=True).eval(), (3, 4)),
    "encoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6, 0.0, batch_first=True), 2, nn.LayerNorm(4)),
        (3, 4),
    ),
    "decoder-layer": (lambda: DecoderOnItself(nn.TransformerDecoderLayer(4, 2, 6, 0.0, batch_first=True)), (3, 4)),
}

OTHERS: LayerTable = {
    "bare-parameter": (partial(Scale, 4), (3, 4)),
    "bare-scalar": (Scale, (3, 4)),
    "bare-positions": (partial(Scale, 3, 4), (3, 4)),
    "bare-positions-as-long-as-the-batch": (partial(Scale, ROWS, 4), (ROWS, 4)),
    "parameter-list": (lambda: Listed(), (4,)),
    "prelu": (nn.PReLU, (4,)),
    "prelu-of-channels": (partial(nn.PReLU, 3), (3, 4)),
    "lstm": (lambda: First(nn.LSTM(4, 3, batch_first=True)), (3, 4)),
    "lstm-deep-both-ways-sequence-first": (
        lambda: transposed(First(nn.LSTM(4, 3, 2, bidirectional=True, proj_size=2)), 0, 1),
        (ROWS, 4),
    ),
    "gru": (lambda: First(nn.GRU(4, 3, batch_first=True)), (3, 4)),
    "gru-no-bias-sequence-first": (lambda: transposed(First(nn.GRU(4, 3, bias=False)), 0, 1), (3, 4)),
    "rnn": (lambda: First(nn.RNN(4, 3, nonlinearity="relu", batch_first=True)), (3, 4)),
    "rnn-cell-loop": (lambda: CellLoop(nn.RNNCell(4, 3)), (3, 4)),
    "gru-cell-loop": (lambda: CellLoop(nn.GRUCell(4, 3, bias=False)), (3, 4)),
    "weight-norm-linear": (lambda: parametrizations.weight_norm(nn.Linear(4, 3)), (4,)),
    "weight-norm-conv": (lambda: parametrizations.weight_norm(nn.Conv1d(2, 3, 2)), (2, 4)),
    "spectral-norm-in-eval": (lambda: spectral_norm(nn.Linear(4, 3)), (3, 4)),
    "parametrised-conv": (lambda: doubled(nn.Conv2d(2, 3, 2)), (2, 3, 4)),
    "parametrised-layernorm": (lambda: doubled(nn.LayerNorm(4)), (3, 4)),
    "parametrised-bias": (lambda: doubled(nn.Linear(4, 3), "bias"), (3, 4)),
    "pruned-linear": (lambda: prune.custom_from_mask(nn.Linear(3, 2), "weight", torch.eye(2, 3)), (3,)),
    "dropout-in-eval": (lambda: nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5)).eval(), (4,)),
}

# Ids of rows: some repeat, 6 and 7 never occur.
IDS = torch.tensor([[0, 1, 1], [2, 2, 2], [3, 4, 5], [0, 0, 5], [5, 1, 0]])
EMBEDDINGS: dict[str, tuple[Build, Tensor]] = {
    "embedding": (partial(nn.Embedding, 8, 4), IDS),
    "embedding-one-id": (partial(nn.Embedding, 8, 4), IDS[:, 0]),
    "embedding-4d": (partial(nn.Embedding, 8, 2), torch.stack([IDS, IDS.flip(0)], dim=2)),
    "embedding-as-long-as-the-batch": (partial(nn.Embedding, 8, 4), torch.cat([IDS, IDS[:, :2]], dim=1)),
    "embedding-long": (partial(nn.Embedding, 8, 4), IDS.repeat(1, 8)),
    "embedding-int32": (partial(nn.Embedding, 8, 4), IDS.int()),
    "embedding-padding": (partial(nn.Embedding, 8, 4, padding_idx=0), IDS),
    "embedding-padding-from-the-end": (partial(nn.Embedding, 8, 4, padding_idx=-3), IDS),
    "embedding-only-padding": (partial(nn.Embedding, 8, 4, padding_idx=2), torch.full((ROWS, 3), 2)),
    "embedding-bag-mean": (partial(nn.EmbeddingBag, 8, 4, mode="mean", padding_idx=1), IDS),
    "embedding-bag-sum": (partial(nn.EmbeddingBag, 8, 4, mode="sum"), IDS),
    "embedding-bag-max": (partial(nn.EmbeddingBag, 8, 4, mode="max"), IDS),
}

# Their gradients are defined, their rules are not the plain ones.
UNUSUAL: dict[str, Case] = {
    "embedding-scaled-by-frequency": Case(
        lambda: nn.Sequential(nn.Embedding(8, 4, scale_grad_by_freq=True), Logits()), IDS, labels(ROWS, CLASSES)
    ),
    "embedding-max-norm": Case(
        lambda: nn.Sequential(nn.Embedding(8, 4, max_norm=0.5), Logits()), IDS, labels(ROWS, CLASSES)
    ),
    "embedding-sparse": Case(
        lambda: nn.Sequential(nn.Embedding(8, 4, sparse=True), Logits()), IDS, labels(ROWS, CLASSES)
    ),
    "instancenorm-running-in-training": case(
        lambda: nn.Sequential(nn.InstanceNorm1d(3, affine=True, track_running_stats=True), Logits()), 3, 4
    ),
}


class Halves(nn.Module):
    def __init__(self, layer: nn.Bilinear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x[..., : self.layer.in1_features], x[..., self.layer.in1_features :])
        return out


class DecoderOnItself(nn.Module):
    def __init__(self, layer: nn.TransformerDecoderLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x[:, 1:], x[:, :2])
        return out


class Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scales = nn.ParameterList([torch.ones(4), torch.ones(1)])
        self.named = nn.ParameterDict({"shift": nn.Parameter(torch.ones(4))})

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x * self.scales[0] * self.scales[1] + self.named["shift"]
        return out


class CellLoop(nn.Module):
    def __init__(self, cell: nn.RNNCell | nn.GRUCell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        states = [x.new_zeros(len(x), self.cell.hidden_size)]
        for step in x.unbind(1):
            states.append(self.cell(step, states[-1]))
        return torch.stack(states[1:], dim=1)


class Double(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def doubled(layer: nn.Module, name: str = "weight") -> nn.Module:
    return parametrize.register_parametrization(layer, name, Double())


def spectral_norm(layer: nn.Module) -> nn.Module:
    """In eval mode, where its vectors are constant; a new one draws them."""
    layer = parametrizations.spectral_norm(layer).eval()
    for vector in layer.buffers():
        vector.copy_(F.normalize(torch.ones(len(vector)), dim=0))
    return layer


def channels_last(x: Tensor) -> Tensor:
    return x.to(memory_format=torch.channels_last)


def measured_before(layer: Any) -> nn.Module:
    """In eval mode, with running statistics that are not those of a new layer."""
    layer.running_mean.copy_(torch.linspace(-0.5, 1.0, len(layer.running_mean)))
    layer.running_var.copy_(torch.linspace(0.5, 2.0, len(layer.running_var)))
    return nn.Sequential(layer).eval()


def alone(build: Build, x: Tensor) -> Case:
    return Case(lambda: nn.Sequential(build(), Logits()), x, labels(ROWS, CLASSES))


def between(build: Build, x: Tensor) -> Case:
    """After a module without a rule, before an activation that overwrites what the layer returned."""

    def surrounded() -> nn.Module:
        first: nn.Module = Scale(*x.shape[1:]) if x.is_floating_point() else nn.Identity()
        return nn.Sequential(first, build(), nn.ReLU(inplace=True), Logits(), nn.Linear(CLASSES, CLASSES))

    return Case(surrounded, x, labels(ROWS, CLASSES))


LAYERS: dict[str, tuple[Build, Tensor]] = {
    **{
        name: (build, randn(ROWS, *shape, seed=3))
        for table in (LINEAR, CONVOLUTIONS, NORMS, ATTENTION, OTHERS)
        for name, (build, shape) in table.items()
    },
    **EMBEDDINGS,
}
