"""Equality with Opacus, which materialises every per-sample gradient and clips by ``C / (norm + 1e-6)``."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from opacus import GradSampleModule
from torch import nn

from gradshape.clipping import clipped_gradient
from tests.clipping.naive import PER_SAMPLE_LOSS, labels, randn


def mlp() -> tuple[nn.Module, tuple[int, ...]]:
    return nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 10)), (20,)


def cnn() -> tuple[nn.Module, tuple[int, ...]]:
    layers = [
        *(nn.Conv2d(3, 16, 3, padding="same"), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(32 * 6 * 6, 64), nn.ReLU(), nn.Linear(64, 10)),
    ]
    return nn.Sequential(*layers), (3, 12, 12)


# Of torch, about the hooks of Opacus.
@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
@pytest.mark.parametrize("build", [mlp, cnn])
def test_clipped_means_equal_those_of_opacus(build: Callable[[], tuple[nn.Module, tuple[int, ...]]]) -> None:
    model, shape = build()
    x, y = randn(8, *shape).float(), labels(8, 10)
    sampled = GradSampleModule(model, loss_reduction="sum")
    PER_SAMPLE_LOSS(sampled(x), y).sum().backward()
    parameters: dict[str, Any] = dict(model.named_parameters())
    per_sample = {name: p.grad_sample for name, p in parameters.items()}
    norms = torch.stack([g.flatten(1).norm(dim=1) for g in per_sample.values()], dim=1).norm(dim=1)
    limit = float(norms.median())
    factors = (limit / (norms + 1e-6)).clamp(max=1)
    expected = {name: torch.einsum("i,i...->...", factors, g) / 8 for name, g in per_sample.items()}
    sampled.remove_hooks()

    got, got_norms = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=limit)
    torch.testing.assert_close(got_norms, norms, rtol=1e-5, atol=1e-6)
    for name, g in expected.items():
        torch.testing.assert_close(got[name], g, rtol=1e-5, atol=1e-6)
