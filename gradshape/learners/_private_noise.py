"""Distributions of the random vectors of private learners."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from scipy.optimize import brentq
from scipy.stats import norm
from torch import Tensor

from gradshape import _validate


class Perturbation(Protocol):
    """A distribution of vectors, symmetric around 0."""

    def draw(self, count: int, width: int, *, generator: torch.Generator) -> Tensor:
        """Draw ``(count, width)`` float64, independent vectors, one a row."""
        ...


@dataclass(frozen=True)
class NormNoise:
    """Noise whose density is proportional to ``exp(-rate |b|)``, with the Euclidean norm.

    Adding such a vector to one whose sensitivity is ``s`` in the Euclidean norm is ``rate * s``-differentially private.
    The direction is uniform, the norm is of the Gamma distribution with shape ``width`` and mean ``width / rate``.

    Args:
        rate: greater than 0.

    Chaudhuri, Monteleoni and Sarwate 2011, algorithms 1 and 2.
    """

    rate: float

    def __post_init__(self) -> None:
        _validate.positive(rate=self.rate)

    def draw(self, count: int, width: int, *, generator: torch.Generator) -> Tensor:
        direction = torch.randn(count, width, dtype=torch.float64, generator=generator)
        # A Gamma variable with an integer shape is a sum of exponential ones.
        length = torch.empty(count, width, dtype=torch.float64).exponential_(self.rate, generator=generator).sum(1)
        drawn: Tensor = direction * (length / direction.norm(dim=1))[:, None]
        return drawn


@dataclass(frozen=True)
class LaplaceNoise:
    """Noise with coordinates of the Laplace distribution with this ``scale``, greater than 0.

    Its density falls with the sum of absolute values: for a sensitivity ``s`` in the *Euclidean* norm it protects with
    ``sqrt(width) s / scale`` only.
    """

    scale: float

    def __post_init__(self) -> None:
        _validate.positive(scale=self.scale)

    def draw(self, count: int, width: int, *, generator: torch.Generator) -> Tensor:
        # The difference of two exponential variables is a Laplace variable.
        draws = torch.empty(2, count, width, dtype=torch.float64).exponential_(1 / self.scale, generator=generator)
        return draws[0] - draws[1]


@dataclass(frozen=True)
class GaussianNoise:
    """Noise with normal coordinates of this standard deviation, greater than 0."""

    std: float

    def __post_init__(self) -> None:
        _validate.positive(std=self.std)

    def draw(self, count: int, width: int, *, generator: torch.Generator) -> Tensor:
        return self.std * torch.randn(count, width, dtype=torch.float64, generator=generator)


def gaussian_std(sensitivity: float, *, epsilon: float, delta: float) -> float:
    """Find the smallest standard deviation for which normal noise is ``(epsilon, delta)``-differentially private.

    Args:
        sensitivity: in the Euclidean norm, greater than 0.
        epsilon: greater than 0.
        delta: in (0, 1).

    Raises:
        ValueError: an argument is out of range.

    Balle and Wang 2018, Improving the Gaussian mechanism for differential privacy, theorem 8.

    >>> round(gaussian_std(1.0, epsilon=1.0, delta=1e-5), 3)
    3.731
    """
    _validate.positive(sensitivity=sensitivity, epsilon=epsilon)
    if not 0 < delta < 1:
        raise ValueError(f"delta={delta!r}: expected a number in (0, 1)")

    def excess(log_ratio: float) -> float:
        ratio = math.exp(log_ratio)
        half, shift = 1 / (2 * ratio), epsilon * ratio
        return float(norm.cdf(half - shift) - math.exp(epsilon + norm.logcdf(-half - shift))) - delta

    low, high = -1.0, 1.0
    while excess(low) < 0:
        low -= 1
    while excess(high) > 0:
        high += 1
    return sensitivity * math.exp(brentq(excess, low, high, xtol=1e-12))
