"""What may happen to per-sample gradients before the optimizer sees them, as small parts that compose.

A shaper turns the per-sample gradients ``g_i`` of a batch of ``B`` rows into the gradient of the step:

    g = (sum_i w_i g_i + N(0, std^2 I)) / B,        w_i = weights(|g_i|)

``Clip(4.0) | Noise(0.1)`` composes two parts. ``Shaper()``, with no parts, is plain training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.clipping import clip_weights


@runtime_checkable
class SampleWeights(Protocol):
    """A part that weights samples by their gradient norms. Anything with these two members composes.

    It has to be a frozen dataclass, so that it can be compared, hashed and named in a cache.
    """

    @property
    def label(self) -> str:
        """Short name for ids: letters, digits, ``.``, ``-`` and ``_``."""
        ...

    def weights(self, norms: Tensor) -> Tensor:
        """``(..., B)`` gradient norms to ``(..., B)`` weights; each weight depends on its own batch's norms only."""
        ...


@dataclass(frozen=True)
class Clip:
    """Scale every per-sample gradient down to norm ``max_norm`` at most: ``w = min(1, max_norm / |g|)``.

    Args:
        max_norm: clipping norm in [0, inf]. 0 removes the gradient, infinity leaves it as it is.

    Raises:
        ValueError: ``max_norm`` is negative or NaN.

    Abadi et al. 2016, "Deep learning with differential privacy", Algorithm 1.

    >>> Clip(2.0).weights(torch.tensor([0.0, 1.0, 4.0]))
    tensor([1.0000, 1.0000, 0.5000])
    """

    max_norm: float

    def __post_init__(self) -> None:
        _validate.non_negative(max_norm=self.max_norm)

    @property
    def label(self) -> str:
        return f"c{self.max_norm:g}".replace("+", "")

    def weights(self, norms: Tensor) -> Tensor:
        """``(..., B)`` norms to ``(..., B)`` weights in [0, 1]."""
        return clip_weights(norms, self.max_norm)

    def __or__(self, other: "Part | Shaper") -> "Shaper":
        return Shaper((self,)) | other


@dataclass(frozen=True)
class Noise:
    """Add Gaussian noise of standard deviation ``std`` to the *sum* of the shaped gradients.

    This is the paper's sigma (its code adds ``N(0, (C z)^2)`` to the sum with ``z = sigma / C``);
    Opacus' noise multiplier is ``std / max_norm``. After the division by the batch size the standard
    deviation of the step's gradient is ``std / B``.

    Raises:
        ValueError: ``std`` is negative, infinite or NaN.
    """

    std: float

    def __post_init__(self) -> None:
        _validate.finite_non_negative(std=self.std)

    @property
    def label(self) -> str:
        return f"s{self.std:g}".replace("+", "")

    def __or__(self, other: "Part | Shaper") -> "Shaper":
        return Shaper((self,)) | other


Part = SampleWeights | Noise


@dataclass(frozen=True)
class Shaper:
    """Parts applied in order.

    Every part that weights samples sees the norms that the parts before it left. The variances of
    several noises add up.

    Raises:
        TypeError: a part is neither :class:`Noise` nor has ``label`` and ``weights``.
        ValueError: a part that weights samples follows a noise: the noise is on the sum, where
            single samples can no longer be weighted.

    >>> shaper = Clip(4.0) | Noise(0.1)
    >>> shaper.label, shaper.noise_std
    ('c4_s0.1', 0.1)
    >>> Shaper().is_vanilla
    True
    """

    parts: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        noisy = False
        for part in self.parts:
            if isinstance(part, Noise):
                noisy = True
            elif not isinstance(part, SampleWeights):
                raise TypeError(f"shaper part {part!r}: expected Noise or an object with label and weights(norms)")
            elif noisy:
                raise ValueError(f"{part!r} follows a Noise: put every part that weights samples before the noise")

    def __or__(self, other: "Part | Shaper") -> "Shaper":
        return Shaper(self.parts + (other.parts if isinstance(other, Shaper) else (other,)))

    @property
    def label(self) -> str:
        """Names of the parts joined by ``_``; empty for plain training."""
        return "_".join(part.label for part in self.parts)

    @property
    def is_vanilla(self) -> bool:
        """Whether training under this shaper is plain training."""
        return not self.reweights and self.noise_std == 0

    @property
    def reweights(self) -> bool:
        """Whether per-sample gradient norms are needed."""
        return any(not isinstance(part, Noise) for part in self.parts)

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise on the sum of the shaped gradients."""
        return float(sum(part.std**2 for part in self.parts if isinstance(part, Noise)) ** 0.5)

    def weights(self, norms: Tensor) -> Tensor:
        """``(..., B)`` per-sample gradient norms to ``(..., B)`` weights."""
        total = torch.ones_like(norms)
        for part in self.parts:
            if not isinstance(part, Noise):
                total = total * part.weights(norms * total)
        return total


class ShaperStack:
    """The shapers of ``K`` victims that are trained together, applied in one pass where they are all plain clipping.

    Args:
        shapers: one a victim.
        device, dtype: of the norms that :meth:`weights` will get.
    """

    def __init__(self, shapers: Sequence[Shaper], *, device: torch.device, dtype: torch.dtype) -> None:
        self.needs_norms = any(shaper.reweights for shaper in shapers)
        limits = [_single_limit(shaper) for shaper in shapers]
        self._limits: Tensor | None = None
        self._groups: list[tuple[Shaper, Tensor]] = []
        if all(limit is not None for limit in limits):
            self._limits = torch.tensor(limits, device=device, dtype=dtype).unsqueeze(1)
        else:
            for shaper in dict.fromkeys(shapers):
                members = [k for k, other in enumerate(shapers) if other == shaper]
                self._groups.append((shaper, torch.tensor(members, device=device)))

    def weights(self, norms: Tensor, member: Tensor | None = None) -> Tensor:
        """``(K, B)`` norms to ``(K, B)`` weights, each row by its own victim's shaper.

        ``member (K, B)`` is not 0 where the row is in the victim's batch, in equally many places of each row:
        shapers see no other norms. Where it is 0 the weights mean nothing.
        """
        if self._limits is not None:
            tiny = torch.finfo(norms.dtype).tiny
            return (self._limits / norms.clamp_min(tiny)).clamp_max_(1)
        total = torch.empty_like(norms)
        for shaper, members in self._groups:
            own = norms[members]
            if member is None:
                total[members] = shaper.weights(own)
                continue
            inside = member[members] != 0
            weights = torch.zeros_like(own)
            weights[inside] = shaper.weights(own[inside].view(len(members), -1)).flatten()
            total[members] = weights
        return total


def _single_limit(shaper: Shaper) -> float | None:
    weighting = [part for part in shaper.parts if not isinstance(part, Noise)]
    if not weighting:
        return float("inf")
    only = weighting[0]
    return only.max_norm if len(weighting) == 1 and isinstance(only, Clip) else None
