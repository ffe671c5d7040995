"""The seams between parts, shapers and stacks of them."""

from collections.abc import Hashable, Sequence
from typing import Protocol, Self, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class SampleWeights(Protocol):
    """A part that weights samples by their gradient norms. Anything with these two members composes.

    It has to be a frozen dataclass, so that it can be compared, hashed and named in a cache. Two more members are read
    where there are any, and are false where there are none:

    * ``samplewise``: every weight depends on its own sample's norm alone;
    * ``per_layer``: ``weights`` takes and returns a leading axis of layers.
    """

    @property
    def label(self) -> str:
        """Short name for ids: letters, digits, ``.``, ``-`` and ``_``."""
        ...

    def weights(self, norms: Tensor) -> Tensor:
        """``(..., B)`` gradient norms to ``(..., B)`` weights; each weight depends on its own batch's norms only."""
        ...


@runtime_checkable
class Bounded(SampleWeights, Protocol):
    """A part that bounds the norms it leaves, whatever the data."""

    def bound(self, before: float) -> float:
        """The largest norm that is left of gradients of norm ``before`` at most, which may be infinity."""
        ...


class RunningWeights(Protocol):
    """One part each of ``k`` victims in use, with what it has learned so far."""

    def weights(self, norms: Tensor) -> Tensor:
        """``(k, B)`` norms, or ``(L, k, B)`` of a part that is ``per_layer``, to as many weights, in a new tensor."""
        ...

    def observe(self, norms: Tensor) -> None:
        """Learn from the norms of one step, of the victims' own batches alone."""
        ...

    def keep(self, victims: Tensor) -> None:
        """Go on with these victims only, in this order."""
        ...


@runtime_checkable
class Stackable(SampleWeights, Protocol):
    """A part that is used for many victims in one pass, each with its own settings."""

    @property
    def kind(self) -> Hashable:
        """Parts of equal kinds can be used in one pass."""
        ...

    @property
    def learns(self) -> bool:
        """Whether its weights depend on gradients of earlier steps."""
        ...

    @classmethod
    def over(cls, parts: Sequence[Self], *, device: torch.device, dtype: torch.dtype) -> RunningWeights:
        """The running form of ``parts``, one a victim and all of one kind, for norms of this device and dtype."""
        ...


def is_samplewise(part: SampleWeights) -> bool:
    return bool(getattr(part, "samplewise", False))


def is_per_layer(part: object) -> bool:
    return bool(getattr(part, "per_layer", False))


def column(values: Sequence[float], *, device: torch.device, dtype: torch.dtype) -> Tensor:
    """One number a victim as ``(k, 1)``, to go with ``(k, B)`` norms."""
    return torch.tensor(list(values), device=device, dtype=dtype).unsqueeze(1)


def short(value: float) -> str:
    """A number in a label."""
    return f"{value:g}".replace("+", "")
