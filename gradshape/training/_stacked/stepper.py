"""The steps of stacked models: gradient, noise, update."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from gradshape.shaping import Shaper, ShaperStack
from gradshape.training._noise import NoiseBlocks
from gradshape.training._replay import Replay
from gradshape.training._stacked.models import StackedModels
from gradshape.training.family import Learned
from gradshape.training.victim import OptimizerState, Victim

BatchT = TypeVar("BatchT")


class StackStepper(Generic[BatchT]):
    """Trains stacked models, step by step. When victims that are done leave, the others' numbers stay the same.

    Args:
        victims: one a model; models beyond them are padding. They share optimizer and number of steps that it
            remembers; those with noise come first.
        models: the models in their initial states.
        rows_per_step: number of rows in each victim's batch, or expected in one, which sums are divided by.
        gather: makes a batch of the arguments of :meth:`step`.
    """

    def __init__(
        self,
        victims: Sequence[Victim],
        models: StackedModels[BatchT],
        *,
        rows_per_step: int,
        gather: Callable[..., BatchT],
    ) -> None:
        self.models = models
        self._gather = gather
        self._rows_per_step = rows_per_step
        shapers = [victim.descent.shaper for victim in victims] + [Shaper()] * (models.num_models - len(victims))
        like = models.parameter
        self._shaping = ShaperStack(shapers, device=like.device, dtype=like.dtype, rows_per_step=rows_per_step)
        self._optimizer = None if models.descends else victims[0].descent.optimizer.over([models.parameter])
        self._keep_optimizer = victims[0].keep_optimizer
        self._steps_taken = self._restore(victims)
        self._best: _Best | None = None
        self._noise = _StackNoise(models, self._shaping, victims, rows_per_step)
        self._replay = Replay(like.device, repeats=self._shaping.repeats)

    def _restore(self, victims: Sequence[Victim]) -> int:
        """Give the optimizer what it remembers of earlier trainings, and return how many steps it took in them."""
        before = [victim.initial_optimizer for victim in victims if victim.initial_optimizer is not None]
        if not before:
            return 0
        slots = [torch.zeros_like(self.models.parameter) for _ in before[0].slots]
        for place, state in enumerate(before):
            for flat, slot in zip(slots, state.slots, strict=True):
                self.models.write(flat, place, slot)
        if self._optimizer is not None:
            self._optimizer.restore([[flat] for flat in slots], before[0].steps)
        return before[0].steps

    @torch.no_grad()
    def step(self, *rows: Tensor | None) -> None:
        """Take a step with every model on its batch, which is gathered from ``rows``."""
        self._replay(self._set_gradient, *rows)
        self._noise.add()
        if self._optimizer is not None:
            self._optimizer.step([self.models.gradient])
        self._steps_taken += 1

    def _set_gradient(self, *rows: Tensor | None) -> None:
        self.models.step(self._gather(*rows), self._rows_per_step, self._shaping)

    def end_epoch(self) -> None:
        """Tell the parts of the shapers that learn by the epoch."""
        self._shaping.end_epoch()

    @property
    def _tensors(self) -> list[Tensor]:
        """The tensors that are remembered of the best epoch: the parameters, and the moments if they are kept."""
        moments = [] if self._optimizer is None else [slot for [slot] in self._optimizer.slots]
        return [self.models.parameter, *(moments if self._keep_optimizer else [])]

    def remember(self, places: Sequence[int]) -> None:
        """Remember the models at ``places`` as they are now, as their best."""
        if self._best is None:
            self._best = _Best(self.models, self._tensors)
        self._best.mark(places, self._tensors, self._steps_taken)

    def learned(self, place: int) -> Learned:
        """Return the states of one model."""
        last = [self.models.read(flat, place) for flat in self._tensors]
        # Before anything is remembered, the last state is the best one.
        best = [self.models.read(flat, place) for flat in (self._best.tensors if self._best else self._tensors)]
        steps = self._best.steps[place] if self._best else self._steps_taken
        kept = self._keep_optimizer
        return Learned(
            last=self.models.with_frozen(place, last[0]),
            best=self.models.with_frozen(place, best[0]),
            last_optimizer=OptimizerState(self._steps_taken, tuple(last[1:])) if kept else None,
            best_optimizer=OptimizerState(steps, tuple(best[1:])) if kept else None,
        )

    def keep(self, victims: Sequence[int], padding: Sequence[int]) -> None:
        """Go on with the models at these places only, in this order, some of them as padding."""
        places = [*victims, *padding]
        select = self.models.keep(places)
        if self._best is not None:
            self._best.keep(places, select)
        if self._optimizer is not None:
            self._optimizer.move([self.models.parameter], select)
        self._shaping.keep(places)
        self._noise.keep(victims)
        # The parameters lie elsewhere now, so that a recorded step is no longer valid.
        self._replay = Replay(self.models.parameter.device, repeats=self._shaping.repeats)


class _StackNoise:
    """Adds the noise of a stack's noisy victims, which have to be its first ones, step after step."""

    def __init__(
        self, models: StackedModels[BatchT], shaping: ShaperStack, victims: Sequence[Victim], rows_per_step: int
    ) -> None:
        noisy = [victim for victim in victims if victim.descent.shaper.noisy]
        self._models = models
        self._shaping = shaping
        self._rows_per_step = rows_per_step
        self._blocks = NoiseBlocks(
            [victim.descent.shaper for victim in noisy], [victim.seed for victim in noisy], models.parameters_per_model
        )
        self._parts: list[Tensor] = []
        self._step = 0
        self._arrange(len(noisy))

    def _arrange(self, noisy: int) -> None:
        self._noisy = noisy
        adaptive = self._blocks.adaptive
        self._adaptive = torch.tensor(adaptive, device=self._models.parameter.device) if any(adaptive) else None

    def add(self) -> None:
        if not self._noisy:
            return
        step = self._step % self._blocks.steps
        if step == 0:
            self._parts = []
            like = self._models.parameter
            self._parts = self._blocks.laid_out(self._models.noise_layout, divisor=self._rows_per_step, like=like)
        self._models.add_noise(self._parts, step, self._scale())
        self._step += 1

    def _scale(self) -> Tensor | None:
        if self._adaptive is None:
            return None
        std = self._shaping.noise_std()[: self._noisy] / self._rows_per_step
        return torch.where(self._adaptive, std, 1.0).to(self._models.parameter.dtype)

    def keep(self, victims: Sequence[int]) -> None:
        """Go on with these victims only, in this order."""
        noisy = [k for k in victims if k < self._noisy]
        self._blocks.keep(noisy)
        index = torch.tensor(noisy, dtype=torch.int64, device=self._models.parameter.device)
        self._parts = [part.index_select(1, index) for part in self._parts]
        self._arrange(len(noisy))


class _Best:
    """Copies of a stack's tensors, for each model from when it was last marked.

    Args:
        models: of the stack.
        tensors: those to copy, in the form of the models' parameters.
    """

    def __init__(self, models: StackedModels[BatchT], tensors: Sequence[Tensor]) -> None:
        self._models = models
        self.tensors = [tensor.clone() for tensor in tensors]
        self.steps = [0] * models.num_models

    def mark(self, places: Sequence[int], tensors: Sequence[Tensor], steps: int) -> None:
        """Copy the parts of the models at ``places``."""
        for to, source in zip(self.tensors, tensors, strict=True):
            self._models.copy(to, source, places)
        for place in places:
            self.steps[place] = steps

    def keep(self, places: Sequence[int], select: Callable[[Tensor], Tensor]) -> None:
        """Go on with the models at ``places`` only."""
        self.tensors = [select(tensor) for tensor in self.tensors]
        self.steps = [self.steps[place] for place in places]
