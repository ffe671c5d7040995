"""Parts in a row, as one value."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gradshape.shaping._chain import Link, weigh
from gradshape.shaping.part import Bounded, FixedNoise, LearnedNoise, SampleWeights, is_per_layer, is_samplewise, learns

Part = SampleWeights | FixedNoise | LearnedNoise


class Composable:
    """Base of parts that are joined to shapers by ``part | other``."""

    __slots__ = ()

    def __or__(self, other: "Part | Shaper") -> "Shaper":
        return Shaper((self,)) | other  # type: ignore[arg-type]


@dataclass(frozen=True)
class Shaper:
    """Parts applied in order.

    A single part, or a list of them, does as well.

    Every part that weights samples sees the norms that the parts before it left. Variances of several noises add up.

    Raises:
        TypeError: a part is no noise, and lacks ``label`` or ``weights``.
        ValueError: a part that weights samples follows a noise. Noise is added to the sum, in which single samples can
            no longer be weighted.

    >>> from gradshape.shaping import Clip, Noise
    >>> shaper = Clip(4.0) | Noise(0.1)
    >>> shaper.label, shaper.noise_std, shaper.sensitivity
    ('c4_s0.1', 0.1, 4.0)
    >>> Shaper().is_vanilla
    True
    """

    parts: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.parts, SampleWeights | FixedNoise | LearnedNoise):
            object.__setattr__(self, "parts", (self.parts,))
        object.__setattr__(self, "parts", tuple(self.parts))
        noisy = False
        for part in self.parts:
            if isinstance(part, type):
                raise TypeError(f"shaper part {part.__name__}: expected an object, not the class: {part.__name__}(...)")
            if isinstance(part, SampleWeights):
                if noisy:
                    raise ValueError(f"{part!r} follows a Noise: put every part that weights samples before the noise")
            elif isinstance(part, FixedNoise | LearnedNoise):
                noisy = True
            else:
                expected = "expected Noise or an object with label and weights(norms)"
                raise TypeError(f"shaper part {part!r}: {expected}{_instead(part)}")

    def __or__(self, other: "Part | Shaper") -> "Shaper":
        return Shaper(self.parts + (other.parts if isinstance(other, Shaper) else (other,)))

    @property
    def label(self) -> str:
        """The labels of the parts joined by ``_``; empty for plain training."""
        return "_".join(part.label for part in self.parts)

    @cached_property
    def weighting(self) -> tuple[SampleWeights, ...]:
        """The parts that weight samples."""
        return tuple(part for part in self.parts if isinstance(part, SampleWeights))

    @cached_property
    def adaptive_noises(self) -> tuple[LearnedNoise, ...]:
        """The noises that follow the norms."""
        noises = self.parts[len(self.weighting) :]
        return tuple(part for part in noises if isinstance(part, LearnedNoise))

    @property
    def is_vanilla(self) -> bool:
        """Whether training under this shaper is plain training."""
        return not self.reweights and not self.noisy

    @property
    def reweights(self) -> bool:
        """Whether samples are weighted."""
        return bool(self.weighting)

    @property
    def needs_norms(self) -> bool:
        """Whether per-sample gradient norms are needed."""
        return bool(self.weighting or self.adaptive_noises)

    @property
    def per_layer(self) -> bool:
        """Whether the norms of single layers are needed."""
        return any(is_per_layer(part) for part in self.weighting)

    @property
    def noisy(self) -> bool:
        """Whether noise is added."""
        return self.noise_std > 0 or bool(self.adaptive_noises)

    @property
    def noise_std(self) -> float:
        """Standard deviation, on the sum of the shaped gradients, of the noise that does not depend on the data."""
        noises = self.parts[len(self.weighting) :]
        return float(sum(part.std**2 for part in noises if isinstance(part, FixedNoise)) ** 0.5)

    @property
    def adaptive(self) -> bool:
        """Whether a weight or the noise depends on gradients of earlier steps, and so is not private."""
        return bool(self.adaptive_noises) or any(learns(part) for part in self.weighting)

    @property
    def sensitivity(self) -> float:
        """The largest Euclidean norm by which adding or removing one sample changes the sum of the shaped gradients.

        This is the largest norm of one sample's shaped gradient if that norm is bounded for all data and the sample
        does not influence the weights of others. It is infinity otherwise: with :class:`QuantileClip`, with parts of
        which it is not known, or without any part that bounds norms.

        >>> from gradshape.shaping import Clip, Normalize, QuantileClip
        >>> (Clip(4.0) | Clip(1.0)).sensitivity, (Clip(3.0) | Normalize(2.0, stabilizer=1.0)).sensitivity
        (1.0, 1.5)
        >>> Shaper().sensitivity, (QuantileClip(0.5) | Clip(1.0)).sensitivity
        (inf, inf)
        """
        norm = math.inf
        for part in self.weighting:
            if learns(part) or not is_samplewise(part):
                return math.inf
            norm = part.bound(norm) if isinstance(part, Bounded) else math.inf
        return norm

    def weights(self, norms: Tensor) -> Tensor:
        """Map ``(..., B)`` per-sample gradient norms to the ``(..., B)`` weights of the first step.

        With a part that is ``per_layer``, map ``(L, ..., B)`` norms of layers to as many weights.
        """
        links = [Link(part, is_per_layer(part)) for part in self.weighting]
        weights = weigh(links, norms, layers=self.per_layer)
        return torch.ones_like(norms) if weights is None else weights


def _instead(given: object) -> str:
    """Say what to write in place of what is no part."""
    if given is None:
        return "; Shaper() does nothing"
    if isinstance(given, list | tuple):
        return "; join parts by |, such as Clip(1.0) | Noise(0.1)"
    return ""
