"""Losses of all kinds."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.clipping.architectures import (
    CLASSES,
    ROWS,
    Case,
    log_likelihood,
)
from tests.clipping.cases.whole import Model
from tests.clipping.naive import (
    PER_SAMPLE_LOSS,
    LossFn,
    labels,
    randn,
)


def some_ignored() -> Tensor:
    y = labels(ROWS, CLASSES)
    y[1] = y[3] = -100
    return y


def logits_of(loss_fn: LossFn, y: Tensor) -> Case:
    return Case(
        lambda: nn.Sequential(nn.Conv1d(2, 3, 2), nn.Flatten(), nn.Linear(9, CLASSES)), randn(ROWS, 2, 4), y, loss_fn
    )


LOSSES: dict[str, Case] = {
    "cross-entropy": logits_of(PER_SAMPLE_LOSS, labels(ROWS, CLASSES)),
    "ignored-rows": logits_of(PER_SAMPLE_LOSS, some_ignored()),
    "only-ignored-rows": logits_of(PER_SAMPLE_LOSS, torch.full((ROWS,), -100)),
    "label-smoothing": logits_of(nn.CrossEntropyLoss(reduction="none", label_smoothing=0.2), some_ignored()),
    "class-weights": logits_of(
        nn.CrossEntropyLoss(torch.tensor([0.0, 1.0, 5.0], dtype=torch.float64), reduction="none"),
        labels(ROWS, CLASSES),
    ),
    "soft-labels": logits_of(PER_SAMPLE_LOSS, randn(ROWS, CLASSES).softmax(-1)),
    "squared-error": logits_of(lambda out, y: (out - y).square().mean(1), randn(ROWS, CLASSES)),
    "squared-error-of-torch": logits_of(
        lambda out, y: F.mse_loss(out, y, reduction="none").sum(1), randn(ROWS, CLASSES)
    ),
    "negative-log-likelihood": logits_of(
        lambda out, y: F.nll_loss(out.log_softmax(-1), y, reduction="none"), labels(ROWS, CLASSES)
    ),
    "binary": logits_of(
        lambda out, y: F.binary_cross_entropy_with_logits(out[:, 0], y, reduction="none"), randn(ROWS).sigmoid()
    ),
    "hinge-with-zeros": logits_of(
        lambda out, y: (1 - out.gather(1, y[:, None]).squeeze(1)).clamp(min=0), labels(ROWS, CLASSES)
    ),
    "one-logit": logits_of(lambda out, y: out[:, 0], labels(ROWS, CLASSES)),
    "constant": logits_of(lambda out, y: y.double(), labels(ROWS, CLASSES)),
    "constant-in-the-graph": logits_of(lambda out, y: 0 * out.sum(1), labels(ROWS, CLASSES)),
    "detached": logits_of(lambda out, y: out.detach().sum(1), labels(ROWS, CLASSES)),
    "a-view-of-the-logits-changed-in-place": logits_of(lambda out, y: (2 * out)[:, 1].mul_(2), labels(ROWS, CLASSES)),
    "of-a-sequence": Case(
        lambda: nn.Linear(4, CLASSES), randn(ROWS, 6, 4), labels(ROWS * 6, CLASSES).reshape(ROWS, 6), log_likelihood
    ),
}


def pair_loss(outputs: Any, y: Tensor) -> Tensor:
    logits, aside = outputs
    losses: Tensor = PER_SAMPLE_LOSS(logits, y) + aside.square().mean(1)
    return losses


def mapping_loss(outputs: Any, y: Tensor) -> Tensor:
    return pair_loss((outputs["logits"], outputs["aside"]), y)


def pair_of_outputs(make: type) -> nn.Module:
    def run(m: Any, x: Tensor) -> Any:
        logits, aside = m.logits(m.l(x)), m.aside(x)
        return {"logits": logits, "aside": aside} if make is dict else (logits, aside)

    return Model(run, l=nn.Linear(4, 5), logits=nn.Linear(5, CLASSES), aside=nn.Linear(4, 2))


LOSSES["pair-of-outputs"] = Case(partial(pair_of_outputs, tuple), randn(ROWS, 4), labels(ROWS, CLASSES), pair_loss)
LOSSES["mapping-of-outputs"] = Case(partial(pair_of_outputs, dict), randn(ROWS, 4), labels(ROWS, CLASSES), mapping_loss)
