"""Noise of a fixed standard deviation."""

from dataclasses import dataclass

from gradshape import _validate
from gradshape.shaping.part import short
from gradshape.shaping.shaper import Composable


@dataclass(frozen=True)
class Noise(Composable):
    """Add Gaussian noise of standard deviation ``std`` to the *sum* of the shaped gradients.

    This is the paper's sigma: its code adds ``N(0, (C z)^2)`` to the sum with ``z = sigma / C``. Opacus' noise
    multiplier is ``std / max_norm``. After the division by the batch size, a step's gradient has noise ``std / B``.

    Raises:
        ValueError: ``std`` is negative, infinite or NaN.
    """

    std: float

    def __post_init__(self) -> None:
        _validate.finite_non_negative(std=self.std)

    @property
    def label(self) -> str:
        return f"s{short(self.std)}"
