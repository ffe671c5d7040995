"""Training the victims of one stack together."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from gradshape.shaping import Shaper, ShaperStack
from gradshape.training.curve import Curves, Score
from gradshape.training.noise import NoiseBlocks
from gradshape.training.replay import Replay
from gradshape.training.state import State
from gradshape.training.transfer import Batch
from gradshape.training.victim import OptimizerState, Scoring, TrainingResult, Victim


class Lanes(Protocol):
    """Victims of one architecture with the rows that they see, each in a lane; the last lanes may be idle."""

    @property
    def count(self) -> int:
        """Number of lanes."""
        ...

    @property
    def rows_per_step(self) -> int:
        """Number of rows in each victim's batch, or expected in one: what sums are divided by."""
        ...

    @property
    def parameters_per_victim(self) -> int:
        """Number of trainable parameters of one victim."""
        ...

    @property
    def parameter(self) -> Tensor:
        """The trainable parameters of all lanes in one flat tensor."""
        ...

    @property
    def gradient(self) -> Tensor:
        """The gradient of the present step, in the form of :attr:`parameter`."""
        ...

    @property
    def descends(self) -> bool:
        """Whether steps and noise move :attr:`parameter` themselves, by plain gradient descent."""
        ...

    def needed(self, victims: int) -> int:
        """Number of lanes, idle ones included, that so many victims take."""
        ...

    def batches(self, epoch: int) -> Iterator[Batch]:
        """What :meth:`step` takes at each step of an epoch."""
        ...

    def step(self, shaping: ShaperStack, batch: Batch) -> None:
        """Set :attr:`gradient` to the shaped mean of each victim's batch, noise excluded."""
        ...

    def noise_layout(self, draws: Tensor) -> list[Tensor]:
        """Draws ``(T, n, P)``, each flat in the order of a victim's state, in the form that :meth:`add_noise` takes."""
        ...

    def select_noise(self, parts: Sequence[Tensor], victims: Tensor) -> list[Tensor]:
        """Laid out draws of these victims only."""
        ...

    def add_noise(self, parts: Sequence[Tensor], step: int, scale: Tensor | None = None) -> None:
        """Add step number ``step`` of laid out draws, times ``scale (n,)``, to the first ``n`` victims' gradients."""
        ...

    def score(self, lanes: Sequence[int]) -> Score:
        """What these lanes make of the test rows now."""
        ...

    def watched(self) -> Tensor | None:
        """``(lanes, M)`` classes that all lanes take their watched rows for now; ``None`` if no row is watched."""
        ...

    def read(self, flat: Tensor, lane: int) -> State:
        """A copy of one victim's part of a tensor of :attr:`parameter`'s form, by parameter name, on the CPU."""
        ...

    def whole(self, lane: int, trained: State) -> State:
        """One victim's trained parameters with those that are not trained."""
        ...

    def write(self, flat: Tensor, lane: int, state: State) -> None:
        """Set one victim's part of a tensor of :attr:`parameter`'s form."""
        ...

    def copy(self, to: Tensor, source: Tensor, lanes: Sequence[int]) -> None:
        """Copy these lanes' parts from one tensor of :attr:`parameter`'s form to another."""
        ...

    def keep(self, lanes: Sequence[int]) -> Callable[[Tensor], Tensor]:
        """Go on with these lanes only, in this order: :attr:`parameter` and :attr:`gradient` are then other tensors.

        Returns:
            What takes from another flat tensor of the old form, such as an optimizer's moment, what belongs to the new.
        """
        ...


class _StackNoise:
    """Adds the noise of a stack's noisy victims, which have to be its first ones, step after step."""

    def __init__(self, lanes: Lanes, shaping: ShaperStack, victims: Sequence[Victim]) -> None:
        noisy = [victim for victim in victims if victim.descent.shaper.noisy]
        self._lanes = lanes
        self._shaping = shaping
        self._blocks = NoiseBlocks(
            [victim.descent.shaper for victim in noisy], [victim.seed for victim in noisy], lanes.parameters_per_victim
        )
        self._parts: list[Tensor] = []
        self._step = 0
        self._arrange(len(noisy))

    def _arrange(self, noisy: int) -> None:
        self._noisy = noisy
        adaptive = self._blocks.adaptive
        self._adaptive = torch.tensor(adaptive, device=self._lanes.parameter.device) if any(adaptive) else None

    def add(self) -> None:
        if not self._noisy:
            return
        step = self._step % self._blocks.steps
        if step == 0:
            self._parts = []
            divisor, like = self._lanes.rows_per_step, self._lanes.parameter
            self._parts = self._blocks.laid_out(self._lanes.noise_layout, divisor=divisor, like=like)
        self._lanes.add_noise(self._parts, step, self._scale())
        self._step += 1

    def _scale(self) -> Tensor | None:
        if self._adaptive is None:
            return None
        std = self._shaping.noise_std()[: self._noisy] / self._lanes.rows_per_step
        return torch.where(self._adaptive, std, 1.0).to(self._lanes.parameter.dtype)

    def keep(self, victims: Sequence[int]) -> None:
        """Go on with these victims only, in this order."""
        noisy = [k for k in victims if k < self._noisy]
        self._blocks.keep(noisy)
        index = torch.tensor(noisy, dtype=torch.int64, device=self._lanes.parameter.device)
        self._parts = self._lanes.select_noise(self._parts, index)
        self._arrange(len(noisy))


class _Best:
    """What tensors of a stack were, lane by lane, when each lane was last marked.

    Args:
        lanes: of the stack.
        tensors: in the form of the stack's parameters.
    """

    def __init__(self, lanes: Lanes, tensors: Sequence[Tensor]) -> None:
        self._lanes = lanes
        self.tensors = [tensor.clone() for tensor in tensors]
        self.steps = [0] * lanes.count

    def mark(self, places: Sequence[int], tensors: Sequence[Tensor], steps: int) -> None:
        """Remember what these lanes are now."""
        for to, source in zip(self.tensors, tensors, strict=True):
            self._lanes.copy(to, source, places)
        for place in places:
            self.steps[place] = steps

    def keep(self, lanes: Sequence[int], select: Callable[[Tensor], Tensor]) -> None:
        """Go on with these lanes only."""
        self.tensors = [select(tensor) for tensor in self.tensors]
        self.steps = [self.steps[lane] for lane in lanes]


class _Training:
    """A stack in training. Victims that are done leave it; the others' numbers stay the same."""

    def __init__(self, victims: Sequence[Victim], lanes: Lanes) -> None:
        self._lanes = lanes
        shapers = [victim.descent.shaper for victim in victims] + [Shaper()] * (lanes.count - len(victims))
        like = lanes.parameter
        self._shaping = ShaperStack(shapers, device=like.device, dtype=like.dtype, rows_per_step=lanes.rows_per_step)
        self._optimizer = None if lanes.descends else victims[0].descent.optimizer.over([lanes.parameter])
        self._keep_optimizer = victims[0].keep_optimizer
        self._scoring = victims[0].scoring
        self._steps_taken = self._restore(victims)
        self._best: _Best | None = None
        self._noise = _StackNoise(lanes, self._shaping, victims)
        self._curves = Curves(victims)
        self._replay = Replay(like.device, repeats=self._shaping.repeats)
        # The victims that are still trained, in the order of their lanes. Lanes of victims that are done become idle.
        self.members = list(range(len(victims)))

    def _restore(self, victims: Sequence[Victim]) -> int:
        """Give the optimizer what it remembers of earlier trainings; returns how many steps it took in them."""
        before = [victim.initial_optimizer for victim in victims if victim.initial_optimizer is not None]
        if not before:
            return 0
        slots = [torch.zeros_like(self._lanes.parameter) for _ in before[0].slots]
        for lane, state in enumerate(before):
            for flat, slot in zip(slots, state.slots, strict=True):
                self._lanes.write(flat, lane, slot)
        if self._optimizer is not None:
            self._optimizer.restore([[flat] for flat in slots], before[0].steps)
        return before[0].steps

    def epoch(self, epoch: int, *, last: bool, keep_states: bool) -> list[int]:
        """Train, evaluate, remember the best states if asked to; returns the places in ``members`` of who is done."""
        for batch in self._lanes.batches(epoch):
            self._replay(self._step, *batch)
            self._noise.add()
            if self._optimizer is not None:
                self._optimizer.step([self._lanes.gradient])
            self._steps_taken += 1
        self._shaping.end_epoch()
        everyone = list(range(len(self.members)))
        done = self._curves.end_epoch(self.members, self._lanes.watched())
        done = everyone if last else done
        scored = everyone if self._scoring is Scoring.EVERY_EPOCH else done
        if scored:
            found = self._curves.score([self.members[place] for place in scored], self._lanes.score(scored))
            better = [scored[place] for place in found]
            if keep_states and better:
                if self._best is None:
                    self._best = _Best(self._lanes, self._tensors)
                self._best.mark(better, self._tensors, self._steps_taken)
        return done

    @property
    def _tensors(self) -> list[Tensor]:
        """What is remembered of the best epoch: the parameters, and the optimizer's moments if they are kept."""
        return [self._lanes.parameter, *(self._moments if self._keep_optimizer else [])]

    @property
    def _moments(self) -> list[Tensor]:
        return [] if self._optimizer is None else [slot for [slot] in self._optimizer.slots]

    def _step(self, *batch: Tensor | None) -> None:
        self._lanes.step(self._shaping, batch)

    def result(self, place: int, *, keep_states: bool) -> TrainingResult:
        """What is known of the victim at this place in ``members``."""
        result = self._curves.result(self.members[place])
        if not keep_states:
            return result
        last = [self._lanes.read(flat, place) for flat in self._tensors]
        # A victim whose accuracy was never better than nothing has no better state than its last.
        best = [self._lanes.read(flat, place) for flat in (self._best.tensors if self._best else self._tensors)]
        result = replace(result, last=self._lanes.whole(place, last[0]), best=self._lanes.whole(place, best[0]))
        if not self._keep_optimizer:
            return result
        steps = self._best.steps[place] if self._best else self._steps_taken
        return replace(
            result,
            last_optimizer=OptimizerState(self._steps_taken, tuple(last[1:])),
            best_optimizer=OptimizerState(steps, tuple(best[1:])),
        )

    def leave(self, done: Sequence[int]) -> None:
        """Take the victims at these places in ``members`` out of the stack."""
        gone = set(done)
        places = [place for place in range(len(self.members)) if place not in gone]
        idle = self._lanes.needed(len(places)) - len(places)
        lanes = places + [lane for lane in range(self._lanes.count) if lane in gone or lane >= len(self.members)][:idle]
        select = self._lanes.keep(lanes)
        if self._best is not None:
            self._best.keep(lanes, select)
        if self._optimizer is not None:
            self._optimizer.move([self._lanes.parameter], select)
        self._shaping.keep(lanes)
        self._noise.keep(places)
        # Parameters have moved.
        self._replay = Replay(self._lanes.parameter.device, repeats=self._shaping.repeats)
        self.members = [self.members[place] for place in places]


@torch.no_grad()
def train_stack(
    victims: Sequence[Victim], lanes: Lanes, *, keep_states: bool, after_epoch: Callable[[int, int], None]
) -> list[TrainingResult]:
    """Train ``victims``, which are in ``lanes``, as one stack.

    They share, but for the shaper, their recipe; those with noise come first. ``after_epoch`` is called with the
    number of epochs done and of victims that go on.
    """
    training = _Training(victims, lanes)
    results: dict[int, TrainingResult] = {}
    epochs = victims[0].descent.epochs
    for epoch in range(epochs):
        done = training.epoch(epoch, last=epoch + 1 == epochs, keep_states=keep_states)
        results |= {training.members[place]: training.result(place, keep_states=keep_states) for place in done}
        going = len(training.members) - len(done)
        after_epoch(epoch + 1, going)
        if not going:
            break
        if done:
            training.leave(done)
    return [results[k] for k in range(len(victims))]
