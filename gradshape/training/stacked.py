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
from gradshape.training.noise import NoiseBlocks
from gradshape.training.order import CommonRows, OwnRows
from gradshape.training.victim import TrainingResult, Victim

# Elements of the largest activation while test rows are evaluated: bounds memory, and stays in the cache.
_EVALUATION_ELEMENTS = 1 << 21


class _StackNoise:
    """Adds the noise of a stack's noisy victims, which have to be its first ones, step after step."""

    def __init__(self, stack: DenseStack, victims: Sequence[Victim], rows_per_step: int) -> None:
        noisy = [victim for victim in victims if victim.recipe.shaper.noise_std]
        self._stack = stack
        self._rows_per_step = rows_per_step
        self._blocks = NoiseBlocks(noisy, stack.parameters_per_victim) if noisy else None
        self._parts: list[Tensor] = []
        self._step = 0

    def add(self) -> None:
        if self._blocks is None:
            return
        step = self._step % self._blocks.steps
        if step == 0:
            draws = self._blocks.draw(divisor=self._rows_per_step, like=self._stack.parameter)
            self._parts = self._stack.noise_layout(draws)
        self._stack.add_noise(self._parts, step)
        self._step += 1


@torch.no_grad()
def train_stack(
    dataset: Dataset,
    victims: Sequence[Victim],
    rows: Rows,
    test: Rows,
    order: CommonRows | OwnRows,
    *,
    keep_states: bool,
    after_epoch: Callable[[int], None],
) -> list[TrainingResult]:
    """Train ``victims`` as one stack of dense networks.

    They share ``order`` and, but for the shaper, their recipe; those with noise come first.
    """
    device, dtype = rows.x.device, rows.x.dtype
    recipe = victims[0].recipe
    stack = _build(dataset, victims, device=device, dtype=dtype)
    idle = stack.lanes - len(victims)
    shaping = ShaperStack([v.recipe.shaper for v in victims] + [Shaper()] * idle, device=device, dtype=dtype)
    optimizer = recipe.optimizer.over([stack.parameter])
    noise = _StackNoise(stack, victims, order.rows_per_step)
    watch = _watch(victims, stack.lanes, device=device, dtype=dtype)
    size = order.rows_per_step
    curves = Curves(len(victims))
    for epoch in range(recipe.epochs):
        for step in order.epoch(epoch):
            private = None if step.private is None else rows[_padded(step.private, idle)]
            member = None if step.member is None else _padded(step.member, idle).to(device=device, dtype=dtype)
            stack.step(rows[step.shared], private, member, size, shaping)
            noise.add()
            optimizer.step([stack.gradient])
        better = _evaluate(stack, test, watch, len(victims), curves)
        if keep_states and len(better):
            stack.mark_best(better.to(device))
        after_epoch(epoch + 1)
    results = []
    for k, victim in enumerate(victims):
        last, best = (stack.state(k), stack.best_state(k)) if keep_states else (None, None)
        results.append(curves.result(k, None if victim.watch is None else len(victim.watch), last, best))
    return results


def bytes_per_victim(dataset: Dataset, victim: Victim, *, dtype: torch.dtype) -> int:
    """Memory that one more victim in a stack takes, estimated from above."""
    layers = models.dense_layers(models.build(victim.recipe.model, dataset.input_shape, dataset.num_classes)) or []
    parameters = sum((layer.in_features + 1) * layer.out_features for layer in layers)
    activations = sum(layer.out_features for layer in layers)
    rows = min(2 * victim.recipe.batch_size, len(dataset.train) + victim.num_private)
    evaluation = min(_EVALUATION_ELEMENTS, len(dataset.test) * activations)
    # Parameters, gradient, two moments, the best so far; per row activations, deltas and a few temporaries.
    return dtype.itemsize * (5 * parameters + 4 * rows * activations + evaluation)


def _build(dataset: Dataset, victims: Sequence[Victim], *, device: torch.device, dtype: torch.dtype) -> DenseStack:
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
    return stack


def _padded(ids: Tensor, idle: int) -> Tensor:
    return torch.cat([ids, ids[:1].expand(idle, *ids.shape[1:])]) if idle else ids


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


def _evaluate(stack: DenseStack, test: Rows, watch: Tensor | None, victims: int, curves: Curves) -> Tensor:
    correct = torch.zeros(stack.lanes, dtype=torch.int64, device=test.x.device)
    finite = torch.ones(stack.lanes, dtype=torch.bool, device=test.x.device)
    labels = test.target.argmax(1)
    chunk = max(1, _EVALUATION_ELEMENTS // (stack.lanes * stack.widest))
    for x, y in zip(test.x.split(chunk), labels.split(chunk), strict=True):
        predicted = classes(stack.logits(x))
        correct += (predicted == y).sum(1)
        finite &= (predicted >= 0).all(1)
    watched = None if watch is None else classes(stack.own_logits(watch))[:victims]
    return curves.add(correct[:victims], finite[:victims], len(labels), watched)
