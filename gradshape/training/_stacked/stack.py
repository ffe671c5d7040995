"""Stacked models with the rows that they train on and are evaluated on."""

from collections.abc import Iterator, Sequence
from typing import Generic, Protocol

import torch
from torch import Tensor

from gradshape.training._curves import score
from gradshape.training._stacked.stepper import BatchT, StackStepper
from gradshape.training.family import Learned, Score
from gradshape.training.victim import Victim


class Feed(Protocol):
    """Where a stack's rows come from."""

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor | None, ...]]:
        """What the stepper gathers the batch of each step from."""
        ...

    def test(self, rows: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The test rows and their labels, so many at a time."""
        ...

    def keep(self, places: Tensor) -> None:
        """Go on with the models at these places only."""
        ...


class TrainingStack(Generic[BatchT]):
    """A :class:`gradshape.training.family.Stack` of stacked models.

    Args:
        count: number of victims; models beyond them are padding.
        stepper, feed: the models, and the rows that they take.
        watch: ``(num_models, M, ...)`` rows that each watches, in the form of the models' rows, or ``None``.
        keep_states: whether parameters are kept.
    """

    def __init__(
        self, count: int, stepper: StackStepper[BatchT], feed: Feed, watch: Tensor | None, *, keep_states: bool
    ) -> None:
        self._count = count
        self._stepper = stepper
        self._models = stepper.models
        self._feed = feed
        self._watch = watch
        self._keep_states = keep_states

    def train(self, epoch: int) -> None:
        for rows in self._feed.epoch(epoch):
            self._stepper.step(*rows)
        self._stepper.end_epoch()

    @torch.no_grad()
    def watched(self) -> Tensor | None:
        return None if self._watch is None else self._models.predict_own(self._watch)

    @torch.no_grad()
    def score(self, places: Sequence[int]) -> Score:
        rows = self._models.rows_at_once(len(places))
        return score(self._models.predictor(places), self._feed.test(rows))

    def remember(self, places: Sequence[int]) -> None:
        if self._keep_states and places:
            self._stepper.remember(places)

    def learned(self, place: int) -> Learned:
        return self._stepper.learned(place) if self._keep_states else Learned()

    @torch.no_grad()
    def keep(self, places: Sequence[int]) -> None:
        padding = self._models.padded(len(places)) - len(places)
        going = set(places)
        others = [place for place in range(self._models.num_models) if place not in going or place >= self._count]
        self._stepper.keep(places, others[:padding])
        index = torch.tensor([*places, *others[:padding]], device=self._models.parameter.device)
        self._feed.keep(index)
        self._watch = None if self._watch is None else self._watch[index]
        self._count = len(places)


def watched_rows(victims: Sequence[Victim], like: Tensor) -> Tensor | None:
    """Zeros ``(K, M, ...)`` of rows such as ``like (K, ...)``, room for those that the victims watch, if any."""
    most = max(0 if victim.watch is None else len(victim.watch) for victim in victims)
    return None if most == 0 else like.new_zeros(len(like), most, *like.shape[1:])
