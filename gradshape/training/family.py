"""What a family is, a way of training: which victims it takes, which may share a stack, and the stack itself."""

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
    """Upper bounds on the memory of a stack.

    Attributes:
        common: bytes that the stack takes, however many victims it has.
        per_victim: bytes that each victim takes.
        at_most: number of victims beyond which a larger stack is slower, whatever the memory.
    """

    common: int
    per_victim: int
    at_most: int = sys.maxsize

    def victims(self, max_memory: int) -> int:
        """Return how many victims may share a stack within ``max_memory`` bytes; at least 1."""
        return min(max(1, (max_memory - self.common) // self.per_victim), self.at_most)


@dataclass(frozen=True, eq=False)
class Score:
    """How well ``k`` victims predict the test rows after an epoch.

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
        """Return the classes ``(K, M)`` that each victim predicts for the rows that it watches; -1 where a logit is not
        finite. ``K`` is at least the number of victims. Return ``None`` if no victim watches any rows.
        """
        ...

    def score(self, places: Sequence[int]) -> Score:
        """Score the victims at ``places`` on the test rows."""
        ...

    def remember(self, places: Sequence[int]) -> None:
        """Remember the victims at ``places`` as they are now: this is their best epoch so far."""
        ...

    def learned(self, place: int) -> Learned:
        """Return what the victim at ``place`` has learned."""
        ...

    def keep(self, places: Sequence[int]) -> None:
        """Go on with the victims at ``places`` only, in this order. What they compute stays the same."""
        ...


class Family(Protocol):
    """A way of training victims of one kind. It holds no state of its own.

    A family of one's own is passed to :func:`gradshape.training.train_victims`. The benchmark harness trains the
    victims of its cases by the built-in families only.
    """

    def takes(self, dataset: Dataset, victim: Victim, device: torch.device) -> bool:
        """Return whether this family can train ``victim``; decide by the arguments alone."""
        ...

    def shares(self, dataset: Dataset, victim: Victim) -> Hashable | None:
        """Return the key that victims must have in common to share a stack, or ``None`` if each needs its own."""
        ...

    def needs(self, work: Workload, group: Sequence[Victim]) -> Needs:
        """Estimate from above the memory of a stack taken from ``group``, whose victims may share one."""
        ...

    def stack(self, work: Workload, members: Sequence[int]) -> Stack:
        """Return a stack of the victims of ``work`` with these numbers, in places in this order."""
        ...
