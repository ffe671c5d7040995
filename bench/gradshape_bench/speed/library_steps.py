"""Ways of taking one step of SGD on a batch: plain, and with gradients clipped by this library."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from gradshape.clipping import LossFn, clipped_gradient
from gradshape.shaping import Clip, ShapedLoss, Shaper
from gradshape.training import SGD, Recipe, Victim, steppers
from gradshape_bench.speed.problems import MAX_NORM, Prepared

# Small, so that thousands of steps on one batch leave the network much as it was.
LEARNING_RATE = 1e-4
_LOSS = nn.CrossEntropyLoss(reduction="none")

Parameters = Mapping[str, Tensor]


@dataclass(frozen=True)
class TimedStep:
    """One way of stepping, ready to go.

    Attributes:
        take: takes one step on the batch.
        parameters: the present values by their names in the problem's network; of the first victim, if there are
            several.
    """

    take: Callable[[], None]
    parameters: Callable[[], Parameters]


# A batch and a learning rate to a step from the initial weights.
StepMethod = Callable[[Prepared, float], TimedStep]


def plain(prepared: Prepared, lr: float) -> TimedStep:
    """Gradients of the mean loss, ``torch.optim.SGD``: what a user without clipping runs."""
    model = prepared.model()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)

    def take() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(prepared.x), prepared.y).backward()
        optimizer.step()

    return TimedStep(take, lambda: named(model))


def function(prepared: Prepared, lr: float) -> TimedStep:
    """:func:`gradshape.clipping.clipped_gradient` on a module, and the update of SGD."""
    model = prepared.model()
    parameters = dict(model.named_parameters())
    return TimedStep(lambda: _clipped_step(model, parameters, prepared, lr), lambda: named(model))


def function_of_own_loss(prepared: Prepared, lr: float) -> TimedStep:
    """The step of :func:`function` with a loss that is a function of the user's, around cross-entropy."""
    model = prepared.model()
    parameters = dict(model.named_parameters())
    return TimedStep(lambda: _clipped_step(model, parameters, prepared, lr, _own_loss), lambda: named(model))


def shaped_loss(prepared: Prepared, lr: float) -> TimedStep:
    """The loop of :func:`plain` with its criterion wrapped in :class:`gradshape.shaping.ShapedLoss`."""
    model = prepared.model()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    criterion = ShapedLoss(model, optimizer, nn.CrossEntropyLoss(), shaper=Clip(MAX_NORM))

    def take() -> None:
        optimizer.zero_grad()
        criterion(model(prepared.x), prepared.y).backward()
        optimizer.step()

    return TimedStep(take, lambda: named(model))


def first(prepared: Prepared, lr: float) -> TimedStep:
    """The step of :func:`function` on a network that was never differentiated, which may have to be checked first."""
    initial = prepared.model()
    latest = [initial]

    def take() -> None:
        latest[0] = model = deepcopy(initial)
        _clipped_step(model, dict(model.named_parameters()), prepared, lr)

    return TimedStep(take, lambda: named(latest[0]))


def training(prepared: Prepared, lr: float) -> TimedStep:
    """What :func:`gradshape.training.train_victims` runs for one victim."""
    return stacked(prepared, [prepared.initial], lr)


def stacked(prepared: Prepared, victims: Sequence[Parameters], lr: float, *, steps: int = 1) -> TimedStep:
    """What :func:`gradshape.training.train_victims` runs for some victims.

    Args:
        prepared: the batch, which all victims share.
        victims: the weights of each.
        lr: learning rate.
        steps: how many steps every victim takes at a call.
    """
    recipe = Recipe(
        prepared.problem.name, SGD(lr), batch_size=len(prepared.x), epochs=1, shaper=Shaper((Clip(MAX_NORM),))
    )
    asked = [Victim(recipe, 0, initial=victim) for victim in victims]
    stacks = steppers(asked, prepared.model(), prepared.x, prepared.y)
    parts = [TimedStep(stack.step, partial(stack.state, 0)) for stack in stacks]
    # Victims that are trained one by one are trained side by side, as by the harness's engine.
    alone = len(parts) == len(victims) > 1
    return _side_by_side(parts, steps) if alone else _repeated(parts, steps)


def _own_loss(logits: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, y, reduction="none")


def _clipped_step(
    model: nn.Module, parameters: Mapping[str, nn.Parameter], prepared: Prepared, lr: float, loss_fn: LossFn = _LOSS
) -> None:
    mean, _ = clipped_gradient(model, loss_fn, prepared.x, prepared.y, max_norm=MAX_NORM)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.add_(mean[name], alpha=-lr)


def _repeated(parts: Sequence[TimedStep], steps: int) -> TimedStep:
    """One part after the other, each so often."""

    def take() -> None:
        for part in parts:
            for _ in range(steps):
                part.take()

    return TimedStep(take, parts[0].parameters)


def _side_by_side(parts: Sequence[TimedStep], steps: int) -> TimedStep:
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))

    def take() -> None:
        wait([pool.submit(_repeated([part], steps).take) for part in parts])

    return TimedStep(take, parts[0].parameters)


def named(model: nn.Module) -> Parameters:
    """Copies of the parameters by name, on the CPU."""
    return {name: parameter.detach().clone().cpu() for name, parameter in model.named_parameters()}
