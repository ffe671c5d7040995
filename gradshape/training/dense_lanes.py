"""A stack of dense networks with the rows that it trains on."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from gradshape import models
from gradshape.data import Dataset
from gradshape.shaping import ShaperStack
from gradshape.training.curve import Score
from gradshape.training.dense import DenseStack, lanes_needed
from gradshape.training.layout import Layout, layout_of
from gradshape.training.loop import initial_model
from gradshape.training.memory import evaluation_elements
from gradshape.training.optimizers import SGD
from gradshape.training.order import CommonRows, OwnRows
from gradshape.training.rows import Rows, columns_of
from gradshape.training.state import State
from gradshape.training.transfer import Batch, steps_on
from gradshape.training.victim import Victim


class DenseLanes:
    """The :class:`gradshape.training.stacked.Lanes` of plain ReLU networks.

    Args:
        dataset: what the victims are trained on.
        victims: one a lane; lanes beyond them are idle.
        rows, test: the training and the test rows.
        order: which rows each step sees.
    """

    def __init__(
        self, dataset: Dataset, victims: Sequence[Victim], rows: Rows, test: Rows, order: CommonRows | OwnRows
    ) -> None:
        device, dtype = rows.x.device, rows.x.dtype
        self._rows = rows
        self._test = test
        self._order = order
        self._stack, self._layout = _build(dataset, victims, device=device, dtype=dtype)
        self.rows_per_step = order.rows_per_step
        self.parameters_per_victim = self._stack.parameters_per_victim
        self._watch = _watch(victims, self.count, device=device, dtype=dtype)
        # Whose rows each lane takes, idle ones those of the first; ``None`` if every lane takes its own.
        idle = self.count - len(victims)
        rows_of = torch.tensor([*range(len(victims)), *[0] * idle], device=device)
        self._rows_of: Tensor = rows_of
        self._own_order = not idle

    @property
    def count(self) -> int:
        """Number of lanes."""
        return self._stack.lanes

    @property
    def parameter(self) -> Tensor:
        """All parameters."""
        return self._stack.parameter

    @property
    def gradient(self) -> Tensor:
        """The gradient of the last step."""
        return self._stack.gradient

    @property
    def descends(self) -> bool:
        """See :attr:`gradshape.training.stacked.Lanes.descends`."""
        return self._stack.descends

    def needed(self, victims: int) -> int:
        """Number of lanes, idle ones included, that so many victims take."""
        return lanes_needed(victims, self._layout)

    def keep(self, lanes: Sequence[int]) -> Callable[[Tensor], Tensor]:
        """See :meth:`gradshape.training.stacked.Lanes.keep`."""
        index = torch.tensor(list(lanes), device=self.parameter.device)
        self._watch = None if self._watch is None else self._watch[index]
        self._rows_of = self._rows_of[index]
        self._own_order = False
        return self._stack.keep(index)

    def read(self, flat: Tensor, lane: int) -> State:
        """See :meth:`gradshape.training.stacked.Lanes.read`."""
        return self._stack.read(flat, lane)

    def whole(self, lane: int, trained: State) -> State:
        """All of them are trained."""
        return trained

    def write(self, flat: Tensor, lane: int, state: State) -> None:
        """See :meth:`gradshape.training.stacked.Lanes.write`."""
        self._stack.write(flat, lane, state)

    def copy(self, to: Tensor, source: Tensor, lanes: Sequence[int]) -> None:
        """See :meth:`gradshape.training.stacked.Lanes.copy`."""
        self._stack.copy(to, source, torch.tensor(list(lanes), device=self.parameter.device))

    def batches(self, epoch: int) -> Iterator[Batch]:
        """See :meth:`gradshape.training.stacked.Lanes.batches`; ids of rows, and whose they are."""
        for step in steps_on(self.parameter.device, self._order.epoch(epoch)):
            yield step.shared, step.private, step.member

    def step(self, shaping: ShaperStack, batch: Batch) -> None:
        """See :meth:`gradshape.training.stacked.Lanes.step`."""
        shared, private, member = batch
        assert shared is not None
        device, dtype = self.parameter.device, self.parameter.dtype
        own = None if private is None else self._rows[self._of_lanes(private)]
        inside = None if member is None else self._of_lanes(member).to(device=device, dtype=dtype)
        self._stack.step(self._rows[shared], own, inside, self.rows_per_step, shaping)

    def _of_lanes(self, ids: Tensor) -> Tensor:
        return ids if self._own_order else ids[self._rows_of]

    def noise_layout(self, draws: Tensor) -> list[Tensor]:
        """See :meth:`gradshape.training.stacked.Lanes.noise_layout`."""
        return self._stack.noise_layout(draws)

    def select_noise(self, parts: Sequence[Tensor], victims: Tensor) -> list[Tensor]:
        """Laid out draws of these victims only."""
        return [part.index_select(1, victims) for part in parts]

    def add_noise(self, parts: Sequence[Tensor], step: int, scale: Tensor | None = None) -> None:
        """See :meth:`gradshape.training.stacked.Lanes.add_noise`."""
        self._stack.add_noise(parts, step, scale)

    def score(self, lanes: Sequence[int]) -> Score:
        """See :meth:`gradshape.training.stacked.Lanes.score`."""
        stack, test = self._stack, self._test
        index = self._evaluated(lanes)
        evaluated = stack.lanes if index is None else len(index)
        correct = torch.zeros(evaluated, dtype=torch.int64, device=test.x.device)
        finite = torch.ones(evaluated, dtype=torch.bool, device=test.x.device)
        labels = test.label.long()
        chunk = max(1, evaluation_elements(test.x.device) // (evaluated * stack.widest))
        for x, y in zip(test.x.split(chunk), labels.split(chunk), strict=True):
            predicted = stack.predict(x, index)
            correct += (predicted == y).sum(1)
            finite &= (predicted >= 0).all(1)
        return Score(correct[: len(lanes)], finite[: len(lanes)], len(labels))

    def _evaluated(self, lanes: Sequence[int]) -> Tensor | None:
        """The lanes to evaluate, with as many more as have to be; ``None`` for all, in their order."""
        needed = self.needed(len(lanes))
        if needed >= self.count and list(lanes) == list(range(len(lanes))):
            return None
        return torch.tensor([*lanes, *[lanes[0]] * (needed - len(lanes))], device=self.parameter.device)

    def watched(self) -> Tensor | None:
        """See :meth:`gradshape.training.stacked.Lanes.watched`."""
        return None if self._watch is None else self._stack.predict_own(self._watch)


def _build(
    dataset: Dataset, victims: Sequence[Victim], *, device: torch.device, dtype: torch.dtype
) -> tuple[DenseStack, Layout]:
    template = initial_model(dataset, victims[0])
    layers = models.dense_layers(template)
    if layers is None:
        raise ValueError(f"model {victims[0].descent.model!r}: expected a plain ReLU network of Linear layers")
    name_of = {id(parameter): name for name, parameter in template.named_parameters()}
    names = [(name_of[id(layer.weight)], name_of[id(layer.bias)]) for layer in layers]
    widths = [layers[0].in_features, *(layer.out_features for layer in layers)]
    optimizer = victims[0].descent.optimizer
    descent = optimizer.lr if isinstance(optimizer, SGD) and not optimizer.momentum else None
    moments = any(victim.keep_optimizer or victim.initial_optimizer is not None for victim in victims)
    layout = layout_of(widths, names, optimizer, [victim.descent.shaper for victim in victims], moments=moments)
    stack = DenseStack(layout, lanes_needed(len(victims), layout), device=device, dtype=dtype, descent=descent)
    for k, victim in enumerate(victims):
        stack.load(k, dict(initial_model(dataset, victim).named_parameters()))
    return stack, layout


def _watch(victims: Sequence[Victim], lanes: int, *, device: torch.device, dtype: torch.dtype) -> Tensor | None:
    most = max(0 if victim.watch is None else len(victim.watch) for victim in victims)
    if most == 0:
        return None
    inputs = next(victim.watch for victim in victims if victim.watch is not None)[0].numel()
    watch = torch.zeros(lanes, most, columns_of(inputs), device=device, dtype=dtype)
    watch[:, :, inputs] = 1
    for k, victim in enumerate(victims):
        if victim.watch is not None and len(victim.watch):
            watch[k, : len(victim.watch), :inputs] = victim.watch.flatten(1)
    return watch
