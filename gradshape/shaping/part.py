"""The protocols between parts, shapers and stacks of shapers."""

from collections.abc import Hashable, Sequence
from typing import Protocol, Self, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class SampleWeights(Protocol):
    """A part that weights samples by their gradient norms. Any object with these two members composes.

    It has to be a frozen dataclass, so that it can be compared, hashed and named in a cache. Two optional members are
    taken to be false where they are missing:

    * ``samplewise``: every weight depends on its own sample's norm alone;
    * ``per_layer``: ``weights`` takes and returns a leading axis of layers.
    """

    @property
    def label(self) -> str:
        """Short name for ids: letters, digits, ``.``, ``-`` and ``_``."""
        ...

    def weights(self, norms: Tensor) -> Tensor:
        """Map ``(..., B)`` gradient norms to ``(..., B)`` weights, each from its own batch's norms only."""
        ...


@runtime_checkable
class FixedNoise(Protocol):
    """A part that adds Gaussian noise of one standard deviation to the sum of the shaped gradients."""

    @property
    def label(self) -> str: ...

    @property
    def std(self) -> float: ...


class RunningNoise(Protocol):
    """One noise each of ``k`` victims in use; ``std`` holds their ``(k,)`` float64 standard deviations of a step."""

    std: Tensor

    def observe(self, norms: Tensor) -> None: ...

    def end_epoch(self) -> None: ...

    def keep(self, victims: Tensor) -> None: ...


@runtime_checkable
class LearnedNoise(Protocol):
    """A part that adds Gaussian noise whose standard deviation follows the norms of the gradients.

    Noises of equal ``kind`` run in one pass. ``keeps_norms`` says whether that keeps all norms of an epoch in memory.
    """

    @property
    def label(self) -> str: ...

    @property
    def kind(self) -> Hashable: ...

    @property
    def keeps_norms(self) -> bool: ...

    @classmethod
    def running(cls, parts: Sequence[Self], *, device: torch.device) -> RunningNoise: ...


@runtime_checkable
class Bounded(SampleWeights, Protocol):
    """A part that bounds the norms it leaves, for all data."""

    def bound(self, before: float) -> float:
        """Return the largest norm that is left of gradients of norm ``before`` at most, which may be infinity."""
        ...


class RunningWeights(Protocol):
    """One part each of ``k`` victims in use, with what it has learned so far."""

    def weights(self, norms: Tensor) -> Tensor:
        """Map ``(k, B)`` norms, or ``(L, k, B)`` if the part is ``per_layer``, to as many weights, in a new tensor."""
        ...

    def observe(self, norms: Tensor) -> None:
        """Learn from the norms of one step's rows, which all belong to the victims' batches."""
        ...

    def keep(self, victims: Tensor) -> None:
        """Keep these victims only, in this order."""
        ...


@runtime_checkable
class Stackable(SampleWeights, Protocol):
    """A part that is used for many victims in one pass, each with its own settings."""

    @property
    def kind(self) -> Hashable:
        """Equal for parts that can be used in one pass."""
        ...

    @property
    def learns(self) -> bool:
        """Whether its weights depend on gradients of earlier steps."""
        ...

    @classmethod
    def over(cls, parts: Sequence[Self], *, device: torch.device, dtype: torch.dtype) -> RunningWeights:
        """Return the running form of ``parts``, one a victim and all of one kind, for these norms."""
        ...


def is_samplewise(part: SampleWeights) -> bool:
    return bool(getattr(part, "samplewise", False))


def is_per_layer(part: object) -> bool:
    return bool(getattr(part, "per_layer", False))


def learns(part: SampleWeights) -> bool:
    """Return whether the part's weights depend on gradients of earlier steps."""
    return isinstance(part, Stackable) and part.learns


def column(values: Sequence[float], *, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return one number a victim as ``(k, 1)``, to broadcast with ``(k, B)`` norms."""
    return torch.tensor(list(values), device=device, dtype=dtype).unsqueeze(1)


def short(value: float) -> str:
    """Write a number as it appears in labels."""
    return f"{value:g}".replace("+", "")
