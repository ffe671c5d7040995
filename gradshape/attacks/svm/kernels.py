"""Kernels of support vector machines, with the derivatives that an attacker who moves one row needs."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gradshape import _validate


class Kernel(Protocol):
    """A symmetric kernel ``K(x, z)`` that is differentiable in its rows."""

    @property
    def label(self) -> str:
        """What it adds to the label of an attack: nothing, or a part that starts with ``_``."""
        ...

    def scaled_to(self, x: Tensor) -> "Kernel":
        """Return the kernel with its scale taken from rows ``x (n, d)``, where it was left open."""
        ...

    def __call__(self, x: Tensor, z: Tensor) -> Tensor:
        """Return ``(n, m)`` values for rows ``x (n, d)`` and ``z (m, d)``."""
        ...

    def weighted_slope(self, x: Tensor, z: Tensor, weights: Tensor) -> Tensor:
        """Return ``sum_i weights_i dK(x_i, z)/dz``, ``(d,)``, for ``x (n, d)``, ``z (d,)`` and weights ``(n,)``."""
        ...

    def own_slope(self, z: Tensor) -> Tensor:
        """Return ``dK(z, z)/dz``, ``(d,)``: both arguments move."""
        ...


@dataclass(frozen=True)
class LinearKernel:
    """``K(x, z) = x . z``.

    >>> x = torch.tensor([[1.0, 2.0]])
    >>> LinearKernel()(x, x).item(), LinearKernel().own_slope(x[0]).tolist()
    (5.0, [2.0, 4.0])
    """

    @property
    def label(self) -> str:
        return ""

    def scaled_to(self, x: Tensor) -> "LinearKernel":
        return self

    def __call__(self, x: Tensor, z: Tensor) -> Tensor:
        return x @ z.T

    def weighted_slope(self, x: Tensor, z: Tensor, weights: Tensor) -> Tensor:
        return weights @ x

    def own_slope(self, z: Tensor) -> Tensor:
        return 2 * z


@dataclass(frozen=True)
class RBFKernel:
    """``K(x, z) = exp(-gamma |x - z|^2)``, as scikit-learn writes it (Biggio et al. 2012 write ``gamma / 2``).

    Args:
        gamma: greater than 0, in units of one over a squared distance; ``None`` for scikit-learn's ``"scale"``, which
            :meth:`scaled_to` takes from rows.

    Raises:
        ValueError: ``gamma`` is not finite or not positive; when it is called, ``gamma`` was left open.

    >>> round(RBFKernel(0.5)(torch.zeros(1, 2), torch.ones(1, 2)).item(), 4)  # exp(-1)
    0.3679
    """

    gamma: float | None = None

    def __post_init__(self) -> None:
        if self.gamma is not None:
            _validate.positive(gamma=self.gamma)

    @property
    def label(self) -> str:
        return "_rbf" if self.gamma is None else f"_rbf{self.gamma:g}"

    def scaled_to(self, x: Tensor) -> "RBFKernel":
        """Return it with ``gamma = 1 / (d var(x))`` over all values of ``x (n, d)``, if it has no ``gamma`` of its own.

        >>> RBFKernel().scaled_to(torch.tensor([[0.0, 1.0], [1.0, 0.0]])).gamma
        2.0
        """
        if self.gamma is not None:
            return self
        variance = float(x.var(correction=0))
        return RBFKernel(1 / (x.shape[1] * variance) if variance else 1.0)

    @property
    def _gamma(self) -> float:
        if self.gamma is None:
            raise ValueError("gamma=None: expected a number: take it from rows with scaled_to(x)")
        return self.gamma

    def __call__(self, x: Tensor, z: Tensor) -> Tensor:
        squares = x.square().sum(1)[:, None] - 2 * x @ z.T + z.square().sum(1)
        return (-self._gamma * squares.clamp_min(0)).exp()

    def weighted_slope(self, x: Tensor, z: Tensor, weights: Tensor) -> Tensor:
        pulls = weights * self(x, z[None])[:, 0]
        return 2 * self._gamma * (pulls @ x - pulls.sum() * z)

    def own_slope(self, z: Tensor) -> Tensor:
        return torch.zeros_like(z)
