"""Classifiers whose parameters are one vector."""

import pytest
import torch

from gradshape.attacks.back_gradient._flat_models import Adaline, FlatModel, SoftmaxRegression, TanhNetwork

MODELS: dict[str, FlatModel] = {"lr": SoftmaxRegression(6, 3), "adaline": Adaline(6, 3), "mlp": TanhNetwork(6, 3)}
each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@each_model
def test_scores_and_losses_have_a_row_each(model: FlatModel) -> None:
    x, y = torch.rand(8, 6, generator=_generator()).double(), torch.arange(8) % 3
    start = model.start(_generator())
    assert start.dtype == torch.float64
    assert model.scores(start, x).shape == (8, 3)
    assert model.losses(start, x, y).shape == (8,)


@pytest.mark.parametrize("kind", ["lr", "adaline"])
def test_no_curvature_of_a_convex_loss_is_above_the_bound(kind: str) -> None:
    model = MODELS[kind]
    x, y = torch.rand(30, 6, generator=_generator()).double(), torch.arange(30) % 3
    rows = torch.nn.functional.pad(x, (0, 1), value=1.0)
    largest = float(torch.linalg.eigvalsh(rows.T @ rows / 30).max())
    for seed in range(5):
        at = torch.randn(21, generator=_generator(seed)).double() * seed / 4
        hessian = torch.autograd.functional.hessian(lambda w: model.losses(w, x, y).mean(), at)
        assert float(torch.linalg.eigvalsh(hessian).max()) <= model.curvature(largest) * (1 + 1e-9)


def test_the_network_is_the_one_written_by_hand() -> None:
    model = TanhNetwork(2, 2, hidden=3)
    start = model.start(_generator())
    x = torch.tensor([[0.3, 0.9]]).double()
    units = [torch.tanh(start[2 * i] * 0.3 + start[2 * i + 1] * 0.9 + start[6 + i]) for i in range(3)]
    expected = [sum((start[9 + 3 * k + i] * units[i] for i in range(3)), start[15 + k]) for k in range(2)]
    torch.testing.assert_close(model.scores(start, x)[0], torch.stack(expected))


def test_the_network_starts_within_one_over_the_root_of_its_inputs_and_by_the_generator() -> None:
    model = TanhNetwork(100, 2)
    start = model.start(_generator(1))
    assert float(start[:1010].abs().max()) <= 0.1
    assert float(start[:1010].abs().max()) > 0.09
    assert torch.equal(start, model.start(_generator(1)))
    assert not torch.equal(start, model.start(_generator(2)))
