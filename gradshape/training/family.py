"""What a way of training is: whom it takes, who may share a stack, what a stack needs, and the stack itself."""

import sys
from collections.abc import Hashable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Protocol

import torch
from torch import Tensor

from gradshape.data import Dataset
from gradshape.training.probe import SubsetGradients
from gradshape.training.state import State
from gradshape.training.victim import OptimizerState, Victim
from gradshape.training.workload import Workload


@dataclass(frozen=True)
class Needs:
    """The memory of a stack, from above.

    Attributes:
        common: bytes that are taken however many victims there are.
        per_victim: bytes that each of them takes.
        at_most: victims beyond which a larger stack is slower, whatever the memory.
    """

    common: int
    per_victim: int
    at_most: int = sys.maxsize

    def victims(self, max_memory: int) -> int:
        """How many victims share a stack within ``max_memory`` bytes; at least 1."""
        return min(max(1, (max_memory - self.common) // self.per_victim), self.at_most)


@dataclass(frozen=True, eq=False)
class Score:
    """What ``k`` victims make of the test rows after an epoch.

    Attributes:
        accuracy: ``(k,)`` float64 share of the test rows that each of them classifies correctly; NaN for regression.
        finite: ``(k,)`` bool, whether all of its test logits are finite.
    """

    accuracy: Tensor
    finite: Tensor


@dataclass(frozen=True, eq=False)
class Learned:
    """What one victim has learned, beside its curves: see :class:`gradshape.training.TrainingResult`."""

    _: KW_ONLY
    last: State | None = None
    best: State | None = None
    last_optimizer: OptimizerState | None = None
    best_optimizer: OptimizerState | None = None
    gradients: SubsetGradients | None = None
    mse: float | None = None


class Stack(Protocol):
    """Victims in training together, each in a place of its own, from 0."""

    def train(self, epoch: int) -> None:
        """Take all steps of epoch number ``epoch``, from 0."""
        ...

    def watched(self) -> Tensor | None:
        """``(K, M)`` classes, ``K`` at least the number of victims, that each predicts of the rows that it watches;
        ``None`` if no victim watches any. -1 where a logit is not finite.
        """
        ...

    def score(self, places: Sequence[int]) -> Score:
        """What the victims at these places make of the test rows now."""
        ...

    def remember(self, places: Sequence[int]) -> None:
        """Remember the victims at these places as they are now: it is their best epoch so far."""
        ...

    def learned(self, place: int) -> Learned:
        """What the victim at this place has learned."""
        ...

    def keep(self, places: Sequence[int]) -> None:
        """Go on with the victims at these places only, in this order. What they compute stays the same."""
        ...


class Family(Protocol):
    """A way of training victims of one kind. It holds no state of its own."""

    def takes(self, dataset: Dataset, victim: Victim, device: torch.device) -> bool:
        """Whether it trains this victim: that depends on nothing else than these."""
        ...

    def shares(self, dataset: Dataset, victim: Victim) -> Hashable | None:
        """What victims that it takes have to have in common to share a stack; ``None`` if each has one of its own."""
        ...

    def needs(self, work: Workload, group: Sequence[Victim]) -> Needs:
        """The memory of a stack out of ``group``, which may share one."""
        ...

    def stack(self, work: Workload, members: Sequence[int]) -> Stack:
        """A stack of the victims with these numbers; those with noise come first."""
        ...
