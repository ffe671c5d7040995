"""Distributions of the random vectors of private learners."""

import math

import pytest
import torch
from scipy import stats

from gradshape.learners._private_noise import GaussianNoise, LaplaceNoise, NormNoise, Perturbation, gaussian_std


def _drawn(distribution: Perturbation, count: int = 4000, width: int = 6) -> torch.Tensor:
    return distribution.draw(count, width, generator=torch.Generator().manual_seed(0))


def test_norms_of_by_norm_are_gamma() -> None:
    norms = _drawn(NormNoise(0.5)).norm(dim=1).numpy()
    assert stats.kstest(norms, stats.gamma(6, scale=2).cdf).pvalue > 1e-3


def test_directions_of_by_norm_are_uniform() -> None:
    drawn = _drawn(NormNoise(0.5))
    cosines = (drawn[:, 0] / drawn.norm(dim=1)).numpy()
    # A coordinate of a uniform direction: its square is of a beta distribution.
    assert stats.kstest(cosines**2, stats.beta(0.5, 2.5).cdf).pvalue > 1e-3
    assert stats.binomtest(int((cosines > 0).sum()), len(cosines)).pvalue > 1e-3


def test_coordinates_are_laplace() -> None:
    assert stats.kstest(_drawn(LaplaceNoise(3.0)).flatten().numpy(), stats.laplace(scale=3).cdf).pvalue > 1e-3


def test_coordinates_are_normal() -> None:
    assert stats.kstest(_drawn(GaussianNoise(3.0)).flatten().numpy(), stats.norm(scale=3).cdf).pvalue > 1e-3


@pytest.mark.parametrize("distribution", [NormNoise(1.0), LaplaceNoise(1.0), GaussianNoise(1.0)], ids=repr)
def test_a_seed_gives_the_same_vectors(distribution: Perturbation) -> None:
    assert torch.equal(_drawn(distribution, 5), _drawn(distribution, 5))


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 20.0])
@pytest.mark.parametrize("delta", [1e-6, 0.01])
def test_the_gaussian_mechanism_is_exactly_as_private_as_asked(epsilon: float, delta: float) -> None:
    std = gaussian_std(2.0, epsilon=epsilon, delta=delta)
    # The privacy loss of a normal vector moved by 2 is normal with mean m and variance 2 m.
    mean = 2.0 / std**2
    loss = stats.norm(mean, math.sqrt(2 * mean))
    beyond = loss.sf(epsilon) - math.exp(epsilon) * stats.norm(-mean, math.sqrt(2 * mean)).sf(epsilon)
    assert beyond == pytest.approx(delta, rel=1e-6)


def test_a_rate_of_zero_is_named() -> None:
    with pytest.raises(ValueError, match="rate=0"):
        NormNoise(0)
