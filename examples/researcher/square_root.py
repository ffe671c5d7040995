"""A shaper: it divides gradients by the root of their norm, so that loud rows count little more than quiet ones."""

from dataclasses import dataclass

from torch import Tensor

from gradshape.shaping import Shaper


@dataclass(frozen=True)
class SquareRoot:
    """Give every gradient the square root of its norm, times ``scale``."""

    scale: float
    samplewise = True

    @property
    def label(self) -> str:
        return f"root{self.scale:g}"

    def weights(self, norms: Tensor) -> Tensor:
        return self.scale / norms.clamp_min(1e-12).sqrt()


def rooted(scale: float) -> Shaper:
    """Return a shaper of that part alone."""
    return Shaper((SquareRoot(scale),))
