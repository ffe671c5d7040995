"""The family of all other networks, and of those whose gradients are probed: each is trained on its own."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from gradshape import _seeds
from gradshape._randomness import RandomState, process_randomness, random_state, set_random_state
from gradshape.data import Dataset
from gradshape.training._curves import classes, score
from gradshape.training._probe.recorder import ProbeRecorder
from gradshape.training._rows.device_rows import epoch_ids
from gradshape.training._single.stepper import SingleStepper, draws_numbers
from gradshape.training.family import Learned, Needs, Score
from gradshape.training.recipe import Recipe
from gradshape.training.state import state_of
from gradshape.training.victim import Victim
from gradshape.training.workload import Workload

_EVALUATION_ROWS = 1000


class SingleFamily:
    """See :class:`gradshape.training.family.Family`."""

    def takes(self, dataset: Dataset, victim: Victim, device: torch.device) -> bool:
        """Every network."""
        return isinstance(victim.recipe, Recipe)

    def shares(self, dataset: Dataset, victim: Victim) -> None:
        """No stack."""

    def needs(self, work: Workload, group: Sequence[Victim]) -> Needs:
        """As much as may be taken: a step takes as few rows at a time as it has to."""
        return Needs(0, work.max_memory)

    def stack(self, work: Workload, members: Sequence[int]) -> "_SingleStack":
        (index,) = members
        return _SingleStack(work, index)


class _SingleStack:
    """One network, see :class:`gradshape.training.family.Stack`."""

    def __init__(self, work: Workload, index: int) -> None:
        self._work = work
        self._victim = victim = work.victims[index]
        self._rows, self._test = work.batches
        self._order = order = work.table.order(index)
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
            # A copy: networks may write to what they are given.
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
        """There is one victim, which stays."""


class _NoNumbers:
    """What a network that draws nothing draws."""

    def training(self) -> AbstractContextManager[None]:
        return nullcontext()

    def evaluation(self) -> AbstractContextManager[None]:
        return nullcontext()


class _DrawnNumbers:
    """What layers such as dropout, and user code, draw from the process's generators: streams of the victim's seed."""

    def __init__(self, device: torch.device, seed: int) -> None:
        self._device = device
        self._seed = seed
        self._state: RandomState | None = None

    @contextmanager
    def training(self) -> Iterator[None]:
        """Draw from the training's stream, from where it was left."""
        with process_randomness(self._device, _seeds.derive(self._seed, "dropout")):
            if self._state is not None:
                set_random_state(self._state, self._device)
            yield
            self._state = random_state(self._device)

    def evaluation(self) -> AbstractContextManager[None]:
        """Draw the same every time, so that no training depends on what is predicted meanwhile."""
        return process_randomness(self._device, _seeds.derive(self._seed, "evaluation"))
