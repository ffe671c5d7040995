"""A part made of any function of norms."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType

from torch import Tensor

from gradshape import _digest
from gradshape.shaping.shaper import Composable


@dataclass(frozen=True, init=False, repr=False)
class Reweight(Composable):
    """A part made of a plain function that maps norms to weights.

    Two such parts are equal if their labels, settings and codes are. The code names the function's module, name,
    bytecode, constants and defaults, and the plain values and functions that it closes over or reads from its module.
    So a cache tells a function that was changed from what it was.

    Args:
        fn: maps ``(..., B)`` norms to ``(..., B)`` weights, each from its own batch's norms; a ``def`` or a ``lambda``.
        label: short name for ids: letters, digits, ``.``, ``-`` and ``_``.
        samplewise: whether every weight depends on its own sample's norm alone.
        per_layer: whether ``fn`` takes and returns a leading axis of layers.

    Raises:
        TypeError: ``fn`` is no plain function, or uses values that cannot be named reliably.
        ValueError: ``label`` has other characters, or none.

    >>> half = Reweight(lambda norms: norms.new_full(norms.shape, 0.5), "half", samplewise=True)
    >>> from gradshape.shaping import Clip
    >>> (Clip(4.0) | half).label
    'c4_half'
    """

    label: str
    samplewise: bool
    per_layer: bool
    code: str

    def __init__(
        self, fn: Callable[[Tensor], Tensor], label: str, *, samplewise: bool = False, per_layer: bool = False
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9._-]+", label):
            raise ValueError(f"label={label!r}: expected letters, digits, '.', '-' and '_'")
        if not isinstance(fn, FunctionType):
            raise TypeError(f"fn={fn!r}: expected a plain function, made by def or lambda")
        for name, value in (("label", label), ("samplewise", samplewise), ("per_layer", per_layer)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "code", _digest.name(fn))
        # Not a field, as functions are compared by their code.
        object.__setattr__(self, "_fn", fn)

    def __repr__(self) -> str:
        return f"Reweight({self.label!r}, samplewise={self.samplewise}, per_layer={self.per_layer})"

    def weights(self, norms: Tensor) -> Tensor:
        """Map ``(..., B)`` norms to ``(..., B)`` weights."""
        weights: Tensor = self._fn(norms)  # type: ignore[attr-defined]
        if weights.shape != norms.shape:
            raise ValueError(
                f"{self!r} returned shape {tuple(weights.shape)}: expected one weight a norm, "
                f"shape {tuple(norms.shape)}"
            )
        return weights
