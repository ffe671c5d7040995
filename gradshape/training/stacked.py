"""Training the victims of one stack together."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from gradshape.shaping import Shaper, ShaperStack
from gradshape.training.curve import Curves, Evaluation
from gradshape.training.noise import NoiseBlocks
from gradshape.training.replay import Replay
from gradshape.training.transfer import Batch
from gradshape.training.victim import State, TrainingResult, Victim


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

    def evaluate(self) -> Evaluation:
        """What all lanes predict now."""
        ...

    def state(self, lane: int) -> State:
        """A copy of one victim's parameters, on the CPU."""
        ...

    def best_state(self, lane: int) -> State:
        """A copy of what one victim's parameters were at its last :meth:`mark_best`."""
        ...

    def mark_best(self, lanes: Sequence[int]) -> None:
        """Remember the present parameters of these lanes as their best."""
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


class _Training:
    """A stack in training. Victims that are done leave it; the others' numbers stay the same."""

    def __init__(self, victims: Sequence[Victim], lanes: Lanes) -> None:
        self._lanes = lanes
        shapers = [victim.descent.shaper for victim in victims] + [Shaper()] * (lanes.count - len(victims))
        like = lanes.parameter
        self._shaping = ShaperStack(shapers, device=like.device, dtype=like.dtype, rows_per_step=lanes.rows_per_step)
        self._optimizer = None if lanes.descends else victims[0].descent.optimizer.over([lanes.parameter])
        self._noise = _StackNoise(lanes, self._shaping, victims)
        self._curves = Curves(victims)
        self._replay = Replay(like.device, repeats=self._shaping.repeats)
        # The victims that are still trained, in the order of their lanes. Lanes of victims that are done become idle.
        self.members = list(range(len(victims)))

    def epoch(self, epoch: int, *, keep_states: bool) -> list[int]:
        """Train, evaluate, remember the best states if asked to; returns the places in ``members`` of who is done."""
        for batch in self._lanes.batches(epoch):
            self._replay(self._step, *batch)
            self._noise.add()
            if self._optimizer is not None:
                self._optimizer.step([self._lanes.gradient])
        self._shaping.end_epoch()
        better, done = self._curves.add(self.members, self._lanes.evaluate())
        if keep_states and better:
            self._lanes.mark_best(better)
        return done

    def _step(self, *batch: Tensor | None) -> None:
        self._lanes.step(self._shaping, batch)

    def result(self, place: int, *, keep_states: bool) -> TrainingResult:
        """What is known of the victim at this place in ``members``."""
        states = (self._lanes.state(place), self._lanes.best_state(place)) if keep_states else (None, None)
        return self._curves.result(self.members[place], *states)

    def leave(self, done: Sequence[int]) -> None:
        """Take the victims at these places in ``members`` out of the stack."""
        gone = set(done)
        places = [place for place in range(len(self.members)) if place not in gone]
        idle = self._lanes.needed(len(places)) - len(places)
        lanes = places + [lane for lane in range(self._lanes.count) if lane in gone or lane >= len(self.members)][:idle]
        select = self._lanes.keep(lanes)
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
        done = training.epoch(epoch, keep_states=keep_states)
        if epoch + 1 == epochs:
            done = list(range(len(training.members)))
        results |= {training.members[place]: training.result(place, keep_states=keep_states) for place in done}
        going = len(training.members) - len(done)
        after_epoch(epoch + 1, going)
        if not going:
            break
        if done:
            training.leave(done)
    return [results[k] for k in range(len(victims))]
