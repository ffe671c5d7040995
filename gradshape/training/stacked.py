"""Training the victims of one stack together."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gradshape import models
from gradshape.data import Dataset
from gradshape.shaping import Shaper, ShaperStack
from gradshape.training.curve import Curves, classes
from gradshape.training.dense import DenseStack, Rows, lanes_needed
from gradshape.training.loop import initial_model
from gradshape.training.memory import EVALUATION_ELEMENTS
from gradshape.training.noise import NoiseBlocks
from gradshape.training.order import CommonRows, OwnRows, Step
from gradshape.training.victim import TrainingResult, Victim


class _StackNoise:
    """Adds the noise of a stack's noisy victims, which have to be its first ones, step after step."""

    def __init__(self, stack: DenseStack, shaping: ShaperStack, victims: Sequence[Victim], rows_per_step: int) -> None:
        noisy = [victim for victim in victims if victim.recipe.shaper.noisy]
        self._stack = stack
        self._shaping = shaping
        self._rows_per_step = rows_per_step
        self._blocks = NoiseBlocks(
            [victim.recipe.shaper for victim in noisy], [victim.seed for victim in noisy], stack.parameters_per_victim
        )
        self._parts: list[Tensor] = []
        self._step = 0
        self._arrange(len(noisy))

    def _arrange(self, noisy: int) -> None:
        self._noisy = noisy
        adaptive = self._blocks.adaptive
        self._adaptive = torch.tensor(adaptive, device=self._stack.parameter.device) if any(adaptive) else None

    def add(self) -> None:
        if not self._noisy:
            return
        step = self._step % self._blocks.steps
        if step == 0:
            self._parts = []
            draws = self._blocks.draw(divisor=self._rows_per_step, like=self._stack.parameter)
            self._parts = self._stack.noise_layout(draws)
        self._stack.add_noise(self._parts, step, self._scale())
        self._step += 1

    def _scale(self) -> Tensor | None:
        if self._adaptive is None:
            return None
        std = self._shaping.noise_std()[: self._noisy] / self._rows_per_step
        return torch.where(self._adaptive, std, 1.0).to(self._stack.parameter.dtype)

    def keep(self, victims: Sequence[int]) -> None:
        """Go on with these victims only, in this order."""
        noisy = [k for k in victims if k < self._noisy]
        self._blocks.keep(noisy)
        index = torch.tensor(noisy, dtype=torch.int64, device=self._stack.parameter.device)
        # The victims' axis comes third in the first layer, second in the others.
        self._parts = [part.index_select(1 if layer else 2, index) for layer, part in enumerate(self._parts)]
        self._arrange(len(noisy))


class _Training:
    """A stack of dense networks in training. Victims that are done leave it; the others' numbers stay the same."""

    def __init__(self, dataset: Dataset, victims: Sequence[Victim], rows: Rows, test: Rows, rows_per_step: int) -> None:
        recipe = victims[0].recipe
        device, dtype = rows.x.device, rows.x.dtype
        self._rows = rows
        self._test = test
        self._rows_per_step = rows_per_step
        self._stack, self._widths = _build(dataset, victims, device=device, dtype=dtype)
        idle = self._stack.lanes - len(victims)
        shapers = [victim.recipe.shaper for victim in victims] + [Shaper()] * idle
        self._shaping = ShaperStack(shapers, device=device, dtype=dtype, rows_per_step=rows_per_step)
        self._optimizer = recipe.optimizer.over([self._stack.parameter])
        self._noise = _StackNoise(self._stack, self._shaping, victims, rows_per_step)
        self._watch = _watch(victims, self._stack.lanes, device=device, dtype=dtype)
        self._curves = Curves(victims)
        # The victims that are still trained, in the order of their lanes; and whose rows each lane takes, idle ones
        # those of the first. Lanes of victims that are done become idle.
        self.members = list(range(len(victims)))
        self._rows_of = [*self.members, *[0] * idle]
        self._own_order = not idle

    def step(self, step: Step) -> None:
        """Take one step; its rows are those of all victims that there were at first."""
        device, dtype = self._rows.x.device, self._rows.x.dtype
        private = None if step.private is None else self._rows[self._of_lanes(step.private)]
        member = None if step.member is None else self._of_lanes(step.member).to(device=device, dtype=dtype)
        self._stack.step(self._rows[step.shared], private, member, self._rows_per_step, self._shaping)
        self._noise.add()
        self._optimizer.step([self._stack.gradient])

    def end_epoch(self, *, keep_states: bool) -> list[int]:
        """Evaluate, and remember the best states if asked to; returns the places in ``members`` of who is done."""
        self._shaping.end_epoch()
        better, done = self._evaluate()
        if keep_states and better:
            self._stack.mark_best(torch.tensor(better, device=self._stack.parameter.device))
        return done

    def result(self, place: int, *, keep_states: bool) -> TrainingResult:
        """What is known of the victim at this place in ``members``."""
        states = (self._stack.state(place), self._stack.best_state(place)) if keep_states else (None, None)
        return self._curves.result(self.members[place], *states)

    def leave(self, done: Sequence[int]) -> None:
        """Take the victims at these places in ``members`` out of the stack."""
        gone = set(done)
        places = [place for place in range(len(self.members)) if place not in gone]
        idle = lanes_needed(len(places), self._widths) - len(places)
        lanes = places + [lane for lane in range(self._stack.lanes) if lane in gone or lane >= len(self.members)][:idle]
        index = torch.tensor(lanes, device=self._stack.parameter.device)
        select = self._stack.keep(index)
        self._optimizer.move([self._stack.parameter], select)
        self._shaping.keep(lanes)
        self._noise.keep(places)
        self._watch = None if self._watch is None else self._watch[index]
        self._rows_of = [self._rows_of[lane] for lane in lanes]
        self._own_order = False
        self.members = [self.members[place] for place in places]

    def _of_lanes(self, ids: Tensor) -> Tensor:
        return ids if self._own_order else ids[self._rows_of]

    def _evaluate(self) -> tuple[list[int], list[int]]:
        stack, test = self._stack, self._test
        correct = torch.zeros(stack.lanes, dtype=torch.int64, device=test.x.device)
        finite = torch.ones(stack.lanes, dtype=torch.bool, device=test.x.device)
        labels = test.target.argmax(1)
        chunk = max(1, EVALUATION_ELEMENTS // (stack.lanes * stack.widest))
        for x, y in zip(test.x.split(chunk), labels.split(chunk), strict=True):
            predicted = classes(stack.logits(x))
            correct += (predicted == y).sum(1)
            finite &= (predicted >= 0).all(1)
        victims = len(self.members)
        watched = None if self._watch is None else classes(stack.own_logits(self._watch))[:victims]
        return self._curves.add(self.members, correct[:victims], finite[:victims], len(labels), watched)


@torch.no_grad()
def train_stack(
    dataset: Dataset,
    victims: Sequence[Victim],
    rows: Rows,
    test: Rows,
    order: CommonRows | OwnRows,
    *,
    keep_states: bool,
    after_epoch: Callable[[int, int], None],
) -> list[TrainingResult]:
    """Train ``victims`` as one stack of dense networks.

    They share ``order`` and, but for the shaper, their recipe; those with noise come first. ``after_epoch`` is called
    with the number of epochs done and of victims that go on.
    """
    training = _Training(dataset, victims, rows, test, order.rows_per_step)
    results: dict[int, TrainingResult] = {}
    epochs = victims[0].recipe.epochs
    for epoch in range(epochs):
        for step in order.epoch(epoch):
            training.step(step)
        done = training.end_epoch(keep_states=keep_states)
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


def _build(
    dataset: Dataset, victims: Sequence[Victim], *, device: torch.device, dtype: torch.dtype
) -> tuple[DenseStack, list[int]]:
    template = initial_model(dataset, victims[0])
    layers = models.dense_layers(template)
    if layers is None:
        raise ValueError(f"model {victims[0].recipe.model!r}: expected a plain ReLU network of Linear layers")
    name_of = {id(parameter): name for name, parameter in template.named_parameters()}
    names = [(name_of[id(layer.weight)], name_of[id(layer.bias)]) for layer in layers]
    widths = [layers[0].in_features, *(layer.out_features for layer in layers)]
    stack = DenseStack(widths, names, lanes_needed(len(victims), widths), device=device, dtype=dtype)
    for k, victim in enumerate(victims):
        stack.load(k, dict(initial_model(dataset, victim).named_parameters()))
    return stack, widths


def _watch(victims: Sequence[Victim], lanes: int, *, device: torch.device, dtype: torch.dtype) -> Tensor | None:
    most = max(0 if victim.watch is None else len(victim.watch) for victim in victims)
    if most == 0:
        return None
    inputs = next(victim.watch for victim in victims if victim.watch is not None)[0].numel()
    watch = torch.zeros(lanes, most, inputs + 1, device=device, dtype=dtype)
    watch[:, :, -1] = 1
    for k, victim in enumerate(victims):
        if victim.watch is not None and len(victim.watch):
            watch[k, : len(victim.watch), :-1] = victim.watch.flatten(1)
    return watch
