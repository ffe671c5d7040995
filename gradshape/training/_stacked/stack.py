"""Stacked models with the rows that they train on and are evaluated on."""

from collections.abc import Iterator, Sequence
from typing import Generic, Protocol

import torch
from torch import Tensor

from gradshape.training._curves import score
from gradshape.training._stacked.stepper import BatchT, StackStepper
from gradshape.training.family import Learned, Score
from gradshape.training.state import State
from gradshape.training.victim import Victim


class Feed(Protocol):
    """Where a stack's rows come from."""

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor | None, ...]]:
        """Yield, for each step of an epoch, the tensors that the stepper gathers the batch from."""
        ...

    def test(self, rows: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the test rows and their labels, ``rows`` at a time."""
        ...

    def keep(self, places: Tensor) -> None:
        """Go on with the models at ``places`` only."""
        ...


def noisy_first(victims: Sequence[Victim]) -> list[int]:
    """Return the places of ``victims`` in the order of their models: noise is added to the first models in one pass."""
    return sorted(range(len(victims)), key=lambda place: not victims[place].descent.shaper.noisy)


class TrainingStack(Generic[BatchT]):
    """A :class:`gradshape.training.family.Stack` of stacked models.

    Args:
        order: the place of the victim that each model is; models beyond them are padding.
        stepper, feed: the models, and the rows that they take.
        watch: ``(num_models, M, ...)`` rows that each watches, in the form of the models' rows, or ``None``.
        keep_states: whether parameters are kept.
    """

    def __init__(
        self,
        order: Sequence[int],
        stepper: StackStepper[BatchT],
        feed: Feed,
        watch: Tensor | None,
        *,
        keep_states: bool,
    ) -> None:
        self._models_of = _inverse(order)
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
        return None if self._watch is None else self._models.predict_own(self._watch)[self._models_of]

    @torch.no_grad()
    def score(self, places: Sequence[int]) -> Score:
        rows, models = self._models.rows_at_once(len(places)), self._at(places)
        seen = score(self._models.predictor(sorted(models)), self._feed.test(rows))
        ranks = _ranks(models)
        return Score(seen.accuracy[ranks], seen.finite[ranks])

    def remember(self, places: Sequence[int]) -> None:
        if self._keep_states and places:
            self._stepper.remember(self._at(places))

    def learned(self, place: int) -> Learned:
        return self._stepper.learned(self._models_of[place]) if self._keep_states else Learned()

    @torch.no_grad()
    def keep(self, places: Sequence[int]) -> None:
        # In the models' order, in which those with noise stay the first ones.
        going = sorted(self._at(places))
        padding = self._models.padded(len(going)) - len(going)
        kept, count = set(going), len(self._models_of)
        others = [model for model in range(self._models.num_models) if model not in kept or model >= count]
        self._stepper.keep(going, others[:padding])
        index = torch.tensor([*going, *others[:padding]], device=self._models.parameter.device)
        self._feed.keep(index)
        self._watch = None if self._watch is None else self._watch[index]
        self._models_of = _ranks(self._at(places))

    def _at(self, places: Sequence[int]) -> list[int]:
        return [self._models_of[place] for place in places]


class StackOnBatch(Generic[BatchT]):
    """A :class:`gradshape.training.Stepper` of stacked models.

    Args:
        order: the place of the victim that each model is.
        stepper: the models, which gather the batch from nothing.
    """

    def __init__(self, order: Sequence[int], stepper: StackStepper[BatchT]) -> None:
        self._models_of = _inverse(order)
        self._stepper = stepper

    def step(self) -> None:
        self._stepper.step()

    def state(self, place: int) -> State:
        return self._stepper.learned(self._models_of[place]).last or {}


def _inverse(order: Sequence[int]) -> list[int]:
    """Return the places of the least number of ``order``, of the next one, and so on."""
    return sorted(range(len(order)), key=order.__getitem__)


def _ranks(models: Sequence[int]) -> list[int]:
    """Return the place of each of ``models`` among all of them, sorted."""
    return _inverse(_inverse(models))


def watched_rows(victims: Sequence[Victim], like: Tensor) -> Tensor | None:
    """Return zeros ``(K, M, ...)`` of rows such as ``like (K, ...)``, room for those that the victims watch, if any."""
    most = max(0 if victim.watch is None else len(victim.watch) for victim in victims)
    return None if most == 0 else like.new_zeros(len(like), most, *like.shape[1:])
