"""How far two ways of computing the same numbers may differ by rounding, given the rounding error of their dtype."""

from collections.abc import Mapping

import torch
from torch import Tensor

from gradshape.clipping.protocol import owner


def same_pass(eps: float) -> float:
    """Return the relative tolerance for sums from one forward pass: they differ in the last products only."""
    return _graded(eps, 1e-6, 1e-3, 2e-2, 1e-1)


def other_pass(eps: float) -> float:
    """Return the relative tolerance for gradients from two forward passes, which may round to either side of a kink."""
    return _graded(eps, 1e-5, 2e-2, 1e-1, 3e-1)


def losses(eps: float) -> float:
    """Return the relative tolerance for losses from two forward passes."""
    return _graded(eps, 1e-7, 1e-4, 3e-2, 1e-1)


def layer_sizes(gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the norms of layers, by their names, of gradients by the names of parameters."""
    squares: dict[str, Tensor] = {}
    for name, g in gradients.items():
        wide = g if g.dtype == torch.float64 else g.float()
        squares[owner(name)] = squares.get(owner(name), wide.new_zeros(())) + wide.square().sum()
    return {layer: square.sqrt() for layer, square in squares.items()}


def within(differences: Mapping[str, Tensor], sizes: Mapping[str, Tensor], tolerance: float, rounding: float) -> bool:
    """Return whether no layer differs by more than rounding.

    A layer's gradient may be nothing but rounding errors, such as that of a bias before a normalisation. Differences
    that are not finite are none.

    Args:
        differences: of layers, by name.
        sizes: what they are relative to.
        tolerance: a share of these.
        rounding: the rounding error of the dtype.
    """
    whole = float(torch.stack([size.double() for size in sizes.values()]).norm())
    noise = min(256 * rounding, same_pass(rounding)) * whole
    return not any(abs(float(differences[layer])) > tolerance * float(size) + noise for layer, size in sizes.items())


def _graded(eps: float, double: float, single: float, half: float, brain: float) -> float:
    if eps < 1e-12:
        return double
    if eps < 1e-6:
        return single
    return half if eps < 2e-3 else brain
