"""The parts of a shaper in use: each sees what those before it left."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol, cast

import torch
from torch import Tensor

from gradshape.shaping.part import (
    LearnedNoise,
    RunningWeights,
    SampleWeights,
    Stackable,
    is_per_layer,
    is_samplewise,
    learns,
)


class _Weighs(Protocol):
    """What maps norms to weights: a part, or the running form of several."""

    def weights(self, norms: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Link:
    """A part in its place in a chain, and whether it looks at single layers."""

    part: _Weighs
    per_layer: bool


def weigh(
    links: Sequence[Link], norms: Tensor, *, layers: bool, seen: Callable[[int, Tensor], None] | None = None
) -> Tensor | None:
    """Multiply the weights of all links; return ``None`` if there are no links.

    Args:
        links: the parts in order.
        norms: ``(..., B)`` gradient norms, or ``(L, ..., B)`` norms of layers.
        layers: whether ``norms`` has an axis of layers.
        seen: called with the place of each link and the norms that it sees, then with the number of links and the
            norms that are left over all layers.
    """
    total: Tensor | None = None
    # Parts are not asked about batches without rows, so that they need not handle them.
    empty = norms.shape[-1] == 0
    for place, link in enumerate(links):
        left = norms if total is None else norms * total
        if layers and not link.per_layer:
            left = whole_norms(left)
        weights = torch.ones_like(left) if empty else link.part.weights(left)
        if seen is not None:
            seen(place, left)
        if total is None and len(links) > 1:
            # The next part may be of the same user, who computes its weights in the same memory.
            weights = weights.clone()
        total = weights if total is None else total * weights
    if seen is not None:
        left = norms if total is None else norms * total
        seen(len(links), whole_norms(left) if layers else left)
    return total


def whole_norms(norms: Tensor) -> Tensor:
    """Return the norms over all layers, ``(..., B)``, from the norms ``(L, ..., B)`` of each."""
    return sum_layers(norms.square()).sqrt_()


def sum_layers(squares: Tensor) -> Tensor:
    """Sum ``(L, ..., B)`` to ``(..., B)``, layer after layer, so that rounding does not depend on the other axes."""
    if len(squares) == 1:
        return squares[0]
    return reduce(torch.add, squares.unbind(0))


class Chain:
    """The shapers of ``k`` victims in use, where their parts agree in number, order and kinds.

    Args:
        weighting: for each victim, its parts that weight samples.
        noises: for each victim, its noises that follow the norms.
        device, dtype: device and dtype of the norms.
    """

    def __init__(
        self,
        weighting: Sequence[Sequence[SampleWeights]],
        noises: Sequence[Sequence[LearnedNoise]],
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        first = weighting[0]
        self._parts: list[RunningWeights] = [_running(parts, device, dtype) for parts in zip(*weighting, strict=True)]
        self._links = [Link(running, is_per_layer(part)) for running, part in zip(self._parts, first, strict=True)]
        self._noises = [type(parts[0]).running(parts, device=device) for parts in zip(*noises, strict=True)]
        self.per_layer = any(link.per_layer for link in self._links)
        self.samplewise = all(map(is_samplewise, first))
        self.learns = bool(self._noises) or any(map(learns, first))
        # A part from elsewhere may do anything.
        self.repeats = not self.learns and all(isinstance(part, Stackable) for part in first)

    def weights(self, norms: Tensor) -> Tensor | None:
        """Map ``(k, B)`` norms, or ``(L, k, B)`` if :attr:`per_layer`, to as many weights; ``None`` if all are 1."""
        return weigh(self._links, norms, layers=self.per_layer)

    def observe(self, norms: Tensor) -> None:
        """Learn from the norms of one step's rows, which all belong to the victims' batches."""
        weigh(self._links, norms, layers=self.per_layer, seen=self._seen)

    def _seen(self, place: int, norms: Tensor) -> None:
        if place < len(self._parts):
            self._parts[place].observe(norms)
            return
        for noise in self._noises:
            noise.observe(norms)

    def variance(self) -> Tensor | None:
        """Return the ``(k,)`` float64 variance of the noises that follow the norms; ``None`` without such noises."""
        variances = [noise.std.square() for noise in self._noises]
        return reduce(torch.add, variances) if variances else None

    def end_epoch(self) -> None:
        """End the epoch for the parts that learn by the epoch."""
        for noise in self._noises:
            noise.end_epoch()

    def keep(self, victims: Tensor) -> None:
        """Keep these victims only, in this order."""
        for part in self._parts:
            part.keep(victims)
        for noise in self._noises:
            noise.keep(victims)


def kind(weighting: Sequence[SampleWeights], noises: Sequence[LearnedNoise]) -> tuple[object, ...]:
    """Return a key that is equal for shapers that can share one :class:`Chain`."""
    # Parts of a user may be equal and weigh differently: one of them stands for itself only.
    return (*(part.kind if isinstance(part, Stackable) else id(part) for part in weighting), *(n.kind for n in noises))


def _running(parts: Sequence[SampleWeights], device: torch.device, dtype: torch.dtype) -> RunningWeights:
    first = parts[0]
    if isinstance(first, Stackable):
        return type(first).over(cast(Sequence[Stackable], parts), device=device, dtype=dtype)
    return _Same(first)


class _Same:
    """The running form of one part that learns nothing and that all victims share."""

    def __init__(self, part: SampleWeights) -> None:
        self._part = part

    def weights(self, norms: Tensor) -> Tensor:
        # A copy: it may be anybody's part, and the norms are needed afterwards.
        return self._part.weights(norms.clone())

    def observe(self, norms: Tensor) -> None:
        pass

    def keep(self, victims: Tensor) -> None:
        pass
