"""Kernels of support vector machines, with the derivative that an attacker of one row needs."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gradshape import _validate


class Kernel(Protocol):
    """A symmetric kernel ``K(x, z)`` that is differentiable in its rows."""

    def __call__(self, x: Tensor, z: Tensor) -> Tensor:
        """``(n, m)`` values for rows ``x (n, d)`` and ``z (m, d)``."""
        ...

    def pull(self, x: Tensor, z: Tensor, weights: Tensor) -> Tensor:
        """``sum_i weights_i dK(x_i, z)/dz``, ``(d,)``, for rows ``x (n, d)``, a row ``z (d,)`` and weights ``(n,)``."""
        ...

    def own(self, z: Tensor) -> Tensor:
        """``dK(z, z)/dz``, ``(d,)``: both arguments move."""
        ...


@dataclass(frozen=True)
class Linear:
    """``K(x, z) = x . z``.

    >>> x = torch.tensor([[1.0, 2.0]])
    >>> Linear()(x, x).item(), Linear().own(x[0]).tolist()
    (5.0, [2.0, 4.0])
    """

    def __call__(self, x: Tensor, z: Tensor) -> Tensor:
        return x @ z.T

    def pull(self, x: Tensor, z: Tensor, weights: Tensor) -> Tensor:
        return weights @ x

    def own(self, z: Tensor) -> Tensor:
        return 2 * z


@dataclass(frozen=True)
class Rbf:
    """``K(x, z) = exp(-gamma |x - z|^2)``, as scikit-learn writes it (Biggio et al. 2012 write ``gamma / 2``).

    Args:
        gamma: greater than 0, in units of one over a squared distance.

    Raises:
        ValueError: ``gamma`` is not finite or not positive.

    >>> round(Rbf(0.5)(torch.zeros(1, 2), torch.ones(1, 2)).item(), 4)  # exp(-1)
    0.3679
    """

    gamma: float

    def __post_init__(self) -> None:
        _validate.positive(gamma=self.gamma)

    def __call__(self, x: Tensor, z: Tensor) -> Tensor:
        squares = x.square().sum(1)[:, None] - 2 * x @ z.T + z.square().sum(1)
        return (-self.gamma * squares.clamp_min(0)).exp()

    def pull(self, x: Tensor, z: Tensor, weights: Tensor) -> Tensor:
        pulls = weights * self(x, z[None])[:, 0]
        return 2 * self.gamma * (pulls @ x - pulls.sum() * z)

    def own(self, z: Tensor) -> Tensor:
        return torch.zeros_like(z)

    @classmethod
    def scaled(cls, x: Tensor) -> "Rbf":
        """With ``gamma = 1 / (d var(x))`` over all values of the rows ``x (n, d)``: scikit-learn's ``"scale"``.

        >>> Rbf.scaled(torch.tensor([[0.0, 1.0], [1.0, 0.0]])).gamma
        2.0
        """
        variance = float(x.var(correction=0))
        return cls(1 / (x.shape[1] * variance) if variance else 1.0)
