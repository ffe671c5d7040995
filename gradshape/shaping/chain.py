"""The parts of a shaper in use: each sees what those before it left."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol, cast

import torch
from torch import Tensor

from gradshape.shaping.adaptive_noise import AdaptiveNoise, RunningNoise
from gradshape.shaping.part import RunningWeights, SampleWeights, Stackable, is_per_layer, is_samplewise


class Weighs(Protocol):
    """Norms to weights: a part, or the running form of several."""

    def weights(self, norms: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Link:
    """One place in a chain, and whether it looks at layers."""

    of: Weighs
    per_layer: bool


def weigh(
    links: Sequence[Link], norms: Tensor, *, layers: bool, seen: Callable[[int, Tensor], None] | None = None
) -> Tensor | None:
    """The weights of all links together, or ``None`` if there are none.

    Args:
        links: in order.
        norms: ``(..., B)``; if ``layers``, those of layers ``(L, ..., B)``.
        layers: whether there is an axis of layers.
        seen: called with the number of each link and the norms that it sees, then with the number of links and the
            norms that are left, over all layers.
    """
    total: Tensor | None = None
    # Parts need not know what to make of no rows.
    empty = norms.shape[-1] == 0
    for place, link in enumerate(links):
        left = norms if total is None else norms * total
        if layers and not link.per_layer:
            left = whole_norms(left)
        weights = torch.ones_like(left) if empty else link.of.weights(left)
        if seen is not None:
            seen(place, left)
        total = weights if total is None else total * weights
    if seen is not None:
        left = norms if total is None else norms * total
        seen(len(links), whole_norms(left) if layers else left)
    return total


def whole_norms(norms: Tensor) -> Tensor:
    """Norms of ``L`` layers ``(L, ..., B)`` to those of all together, ``(..., B)``."""
    return sum_layers(norms.square()).sqrt_()


def sum_layers(squares: Tensor) -> Tensor:
    """``(L, ..., B)`` to ``(..., B)``, added layer after layer: by however many columns, the same roundings."""
    if len(squares) == 1:
        return squares[0]
    return reduce(torch.add, squares.unbind(0))


class Chain:
    """Shapers of one kind, of ``k`` victims, in use: their parts agree in number, order and kinds.

    Args:
        weighting: of each victim the parts that weight samples.
        noises: of each victim the noises that follow the norms.
        device, dtype: of the norms.
    """

    def __init__(
        self,
        weighting: Sequence[Sequence[SampleWeights]],
        noises: Sequence[Sequence[AdaptiveNoise]],
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        first = weighting[0]
        self._parts: list[RunningWeights] = [_running(parts, device, dtype) for parts in zip(*weighting, strict=True)]
        self._links = [Link(of, is_per_layer(part)) for of, part in zip(self._parts, first, strict=True)]
        self._noises = [RunningNoise(parts, device=device) for parts in zip(*noises, strict=True)]
        self.per_layer = any(link.per_layer for link in self._links)
        self.samplewise = all(map(is_samplewise, first))
        self.learns = bool(self._noises) or any(isinstance(part, Stackable) and part.learns for part in first)
        # What a part by others does is not known.
        self.repeats = not self.learns and all(isinstance(part, Stackable) for part in first)

    def weights(self, norms: Tensor) -> Tensor | None:
        """``(k, B)`` norms, per layer ``(L, k, B)``, to ``(k, B)`` or ``(L, k, B)`` weights; ``None`` for all 1."""
        return weigh(self._links, norms, layers=self.per_layer)

    def observe(self, norms: Tensor) -> None:
        """Learn from the norms of one step, of the victims' own batches alone."""
        weigh(self._links, norms, layers=self.per_layer, seen=self._seen)

    def _seen(self, place: int, norms: Tensor) -> None:
        if place < len(self._parts):
            self._parts[place].observe(norms)
            return
        for noise in self._noises:
            noise.observe(norms)

    def variance(self) -> Tensor | None:
        """``(k,)`` float64 variance on the sum of the noises that follow the norms; ``None`` without such noises."""
        variances = [noise.std.square() for noise in self._noises]
        return reduce(torch.add, variances) if variances else None

    def end_epoch(self) -> None:
        """Tell those that learn by the epoch."""
        for noise in self._noises:
            noise.end_epoch()

    def keep(self, victims: Tensor) -> None:
        """Go on with these victims only, in this order."""
        for part in self._parts:
            part.keep(victims)
        for noise in self._noises:
            noise.keep(victims)


def kind(weighting: Sequence[SampleWeights], noises: Sequence[AdaptiveNoise]) -> tuple[object, ...]:
    """What shapers have to share to stand in one :class:`Chain`."""
    return (*(part.kind if isinstance(part, Stackable) else part for part in weighting), *(n.kind for n in noises))


def _running(parts: Sequence[SampleWeights], device: torch.device, dtype: torch.dtype) -> RunningWeights:
    first = parts[0]
    if isinstance(first, Stackable):
        return type(first).over(cast(Sequence[Stackable], parts), device=device, dtype=dtype)
    return _Same(first)


class _Same:
    """One part that learns nothing, of every victim."""

    def __init__(self, part: SampleWeights) -> None:
        self._part = part

    def weights(self, norms: Tensor) -> Tensor:
        return self._part.weights(norms)

    def observe(self, norms: Tensor) -> None:
        pass

    def keep(self, victims: Tensor) -> None:
        pass
