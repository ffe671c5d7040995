"""Ways of taking one step of SGD on a batch: plain, and with gradients clipped by this library."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from gradshape import models
from gradshape.clipping import clipped_gradient
from gradshape.shaping import Clip, Shaper, ShaperStack
from gradshape.training import SGD
from gradshape.training.dense import DenseStack, lanes_needed
from gradshape.training.layout import layout_of
from gradshape.training.loop import OneVictim
from gradshape.training.memory import most_in_cache
from gradshape.training.plan import chunks
from gradshape.training.replay import Replay
from gradshape.training.rows import Rows
from gradshape_bench.speed.problems import MAX_NORM, Prepared

# Small, so that thousands of steps on one batch leave the network much as it was.
LEARNING_RATE = 1e-4

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
    loss = nn.CrossEntropyLoss(reduction="none")

    def take() -> None:
        mean, _ = clipped_gradient(model, loss, prepared.x, prepared.y, max_norm=MAX_NORM)
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.add_(mean[name], alpha=-lr)

    return TimedStep(take, lambda: named(model))


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
    layers = models.dense_layers(prepared.model())
    if layers is None:
        parts = [_alone(prepared, victim, lr) for victim in victims]
        return _side_by_side(parts, steps) if len(parts) > 1 else _repeated(parts, steps)
    most = most_in_cache(sum(p.nbytes for p in victims[0].values()), SGD(lr), prepared.device)
    return _repeated([_dense(prepared, layers, some, lr) for some in chunks(victims, most)], steps)


def _repeated(parts: Sequence[TimedStep], steps: int) -> TimedStep:
    """One part after the other, each so often."""

    def take() -> None:
        for part in parts:
            for _ in range(steps):
                part.take()

    return TimedStep(take, parts[0].parameters)


def _side_by_side(parts: Sequence[TimedStep], steps: int) -> TimedStep:
    threads = torch.get_num_threads()
    # As the harness's engine: victims side by side, each on one processor.
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))

    def take() -> None:
        wait([pool.submit(_repeated([part], steps).take) for part in parts])

    return TimedStep(take, parts[0].parameters)


def _dense(prepared: Prepared, layers: Sequence[nn.Linear], victims: Sequence[Parameters], lr: float) -> TimedStep:
    device, dtype = prepared.device, torch.float32
    widths = [layers[0].in_features, *(layer.out_features for layer in layers)]
    names = list(victims[0])
    shaper = Shaper((Clip(MAX_NORM),))
    pairs = list(zip(names[::2], names[1::2], strict=True))
    layout = layout_of(widths, pairs, SGD(lr), [shaper])
    lanes = lanes_needed(len(victims), layout)
    stack = DenseStack(layout, lanes, device=device, dtype=dtype, descent=lr)
    for lane, victim in enumerate(victims):
        stack.load(lane, victim)
    rows = Rows.of(prepared.x, prepared.y, dtype=dtype, device=device)
    shapers = [shaper] * len(victims) + [Shaper()] * (lanes - len(victims))
    shaping = ShaperStack(shapers, device=device, dtype=dtype, rows_per_step=len(rows))
    replay = Replay(device, repeats=shaping.repeats)
    step = partial(stack.step, rows, None, None, len(rows), shaping)

    @torch.no_grad()
    def take() -> None:
        replay(step)

    return TimedStep(take, lambda: stack.state(0))


def _alone(prepared: Prepared, victim: Parameters, lr: float) -> TimedStep:
    model = prepared.model()
    model.load_state_dict(dict(victim))
    trainer = OneVictim(model, SGD(lr), Shaper((Clip(MAX_NORM),)), seed=0, rows_per_step=len(prepared.x))
    return TimedStep(lambda: trainer.step(prepared.x, prepared.y), lambda: named(model))


def named(model: nn.Module) -> Parameters:
    """Copies of the parameters by name, on the CPU."""
    return {name: parameter.detach().clone().cpu() for name, parameter in model.named_parameters()}
