"""The family of all other networks, and of those whose gradients are probed: each is trained on its own."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn

from gradshape import _seeds
from gradshape._randomness import RandomState, process_randomness, random_state, set_random_state
from gradshape.data import Dataset
from gradshape.training._architecture import Architecture
from gradshape.training._curves import classes, score
from gradshape.training._prepared_rows import row_batches, row_table
from gradshape.training._probe.recorder import ProbeRecorder
from gradshape.training._rows.device_rows import epoch_ids
from gradshape.training._single.stepper import SingleStepper, draws_numbers
from gradshape.training.family import Learned, Needs, Score
from gradshape.training.network_family import Stepper
from gradshape.training.recipe import Recipe
from gradshape.training.state import State, state_of
from gradshape.training.victim import Victim
from gradshape.training.workload import Workload

_EVALUATION_ROWS = 1000


class SingleFamily:
    """See :class:`gradshape.training.family.Family`."""

    def takes(self, dataset: Dataset, victim: Victim, device: torch.device) -> bool:
        """Return True for every network."""
        return not victim.fitted

    def suits(self, architecture: Architecture, recipe: Recipe, rows: int, device: torch.device) -> bool:
        """Return True for every network."""
        return True

    def shares(self, dataset: Dataset, victim: Victim) -> None:
        """Return None: each victim is trained on its own."""

    def needs(self, work: Workload, group: Sequence[Victim]) -> Needs:
        """Return the whole memory: a step takes as few rows at a time as are needed to stay within it."""
        return Needs(0, work.max_memory)

    def stack(self, work: Workload, members: Sequence[int]) -> "_SingleStack":
        (index,) = members
        return _SingleStack(work, index)

    def steppers(
        self, victims: Sequence[Victim], initial: Callable[[Victim], nn.Module], x: Tensor, y: Tensor
    ) -> list[Stepper]:
        return [_SingleOnBatch(initial(victim).to(x.device), victim, x, y) for victim in victims]


class _SingleStack:
    """One network, see :class:`gradshape.training.family.Stack`."""

    def __init__(self, work: Workload, index: int) -> None:
        self._work = work
        self._victim = victim = work.victims[index]
        self._rows, self._test = row_batches(work)
        self._order = order = row_table(work).order(index)
        recipe = victim.descent
        self._model = model = work.initial_model(victim).to(device=work.device, dtype=work.dtype)
        self._probe: ProbeRecorder | None = None
        if victim.probe is not None:
            self._probe = ProbeRecorder(victim.probe, model, self._rows, order, reweights=recipe.shaper.reweights)
        self._stepper = SingleStepper(
            model,
            recipe.optimizer,
            recipe.shaper,
            seed=victim.seed,
            rows_per_step=order.rows_per_step,
            max_memory=work.max_memory,
            subsets=None if self._probe is None else self._probe.sums,
            loss=recipe.loss,
        )
        if victim.initial_optimizer is not None:
            self._stepper.restore_optimizer(victim.initial_optimizer)
        self._drawn = _DrawnNumbers(work.device, victim.seed) if draws_numbers(model) else _NoNumbers()
        self._best = Learned()

    def train(self, epoch: int) -> None:
        with self._drawn.training():
            self._model.train()
            for ids in epoch_ids([self._order], epoch, self._rows.home):
                x, y = self._rows[ids[0]]
                self._stepper.step(x, y, None if self._probe is None else self._probe.members(ids[0]))
            self._stepper.end_epoch()
        self._model.eval()
        if self._probe is not None:
            with self._drawn.evaluation():
                self._probe.end_epoch()

    @torch.no_grad()
    def watched(self) -> Tensor | None:
        watch = self._victim.watch
        if watch is None or not len(watch):
            return None
        with self._drawn.evaluation():
            # The rows are copied, as networks may write to what they are given.
            parts = watch.to(self._work.dtype, copy=True).split(_EVALUATION_ROWS)
            return torch.cat([self._predict(part.to(self._work.device)) for part in parts], dim=1)

    @torch.no_grad()
    def score(self, places: Sequence[int]) -> Score:
        with self._drawn.evaluation():
            return score(self._predict, self._test.split(_EVALUATION_ROWS))

    def _predict(self, x: Tensor) -> Tensor:
        return classes(self._model(x)).unsqueeze(0)

    def remember(self, places: Sequence[int]) -> None:
        if places and self._work.keep_states:
            moments = self._stepper.optimizer_state if self._victim.keep_optimizer else None
            self._best = Learned(best=state_of(self._model), best_optimizer=moments)

    def learned(self, place: int) -> Learned:
        gradients = None if self._probe is None else self._probe.result()
        if not self._work.keep_states:
            return Learned(gradients=gradients)
        moments = self._stepper.optimizer_state if self._victim.keep_optimizer else None
        return replace(self._best, last=state_of(self._model), last_optimizer=moments, gradients=gradients)

    def keep(self, places: Sequence[int]) -> None:
        """Do nothing, as there is one victim, which stays."""


class _SingleOnBatch:
    """One network with a batch, see :class:`gradshape.training.Stepper`."""

    def __init__(self, model: nn.Module, victim: Victim, x: Tensor, y: Tensor) -> None:
        recipe = victim.descent
        self._model = model.train()
        self._batch = x, y
        self._stepper = SingleStepper(model, recipe.optimizer, recipe.shaper, seed=victim.seed, rows_per_step=len(x))
        if victim.initial_optimizer is not None:
            self._stepper.restore_optimizer(victim.initial_optimizer)

    def step(self) -> None:
        self._stepper.step(*self._batch)

    def state(self, place: int) -> State:
        return state_of(self._model)


class _NoNumbers:
    """Stands in for the random state of a network that draws no numbers."""

    def training(self) -> AbstractContextManager[None]:
        return nullcontext()

    def evaluation(self) -> AbstractContextManager[None]:
        return nullcontext()


class _DrawnNumbers:
    """Draws what layers such as dropout, and user code, take from the process's generators, from the victim's seed."""

    def __init__(self, device: torch.device, seed: int) -> None:
        self._device = device
        self._seed = seed
        self._state: RandomState | None = None

    @contextmanager
    def training(self) -> Iterator[None]:
        """Draw from the training's stream, going on where it was left."""
        with process_randomness(self._device, _seeds.derive(self._seed, "dropout")):
            if self._state is not None:
                set_random_state(self._state, self._device)
            yield
            self._state = random_state(self._device)

    def evaluation(self) -> AbstractContextManager[None]:
        """Draw the same every time, so that no training depends on what is predicted meanwhile."""
        return process_randomness(self._device, _seeds.derive(self._seed, "evaluation"))
