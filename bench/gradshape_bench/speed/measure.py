"""Measuring a problem, a stack or the memory of a step, after checking that the step is right."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace

import torch
from torch import Tensor

from gradshape_bench import matmul_precision
from gradshape_bench.speed import opacus_process, peak_memory, stacks
from gradshape_bench.speed.flops import SQUARE_PRODUCT_FLOPS, layer_products, square_product, step_flops
from gradshape_bench.speed.library_steps import LEARNING_RATE, StepMethod, TimedStep
from gradshape_bench.speed.problems import Prepared, Problem
from gradshape_bench.speed.results import PeakMemory, StackTimes, StepTimes
from gradshape_bench.speed.stacks import TimedStack
from gradshape_bench.speed.step_methods import OPACUS, OURS, STEP_METHODS
from gradshape_bench.speed.timing import Effort, Spread, ratios, synchronizer, take_turns

# Differences from the order of summation, and from the 1e-6 that Opacus adds to norms, are well below it in float32.
_TOLERANCE = 1e-4


class WrongUpdate(AssertionError):
    """A step that is to be timed gives another update than the others."""


def step_times(problem: Problem, effort: Effort, *, device: str) -> dict[str, StepTimes]:
    """Measure the times of all ways of taking a step on one problem.

    Raises:
        WrongUpdate: their updates of the weights differ.
    """
    prepared = problem.prepare(device=device)
    check_updates(prepared)
    steps = {name: method(prepared, LEARNING_RATE).take for name, method in STEP_METHODS.items()}
    seconds = take_turns(steps, effort, synchronize=synchronizer(device))
    best = min(OPACUS, key=lambda name: Spread.of(seconds[name]).median)
    return {
        name: StepTimes(
            Spread.of(own), ratios(own, seconds["plain"]), ratios(own, seconds[best]) if name in OURS else None
        )
        for name, own in seconds.items()
    }


def stack_times(stack: TimedStack, effort: Effort, *, device: str) -> StackTimes:
    """Measure the times of a stack, of Opacus on its victims one by one, and of a square matrix product.

    Raises:
        WrongUpdate: the first victim's update differs from that of Opacus.
    """
    prepared = stack.problem.prepare(device=device)
    expected = update(prepared, STEP_METHODS["opacus_hooks"](prepared, 1.0))
    one_step = update(prepared, stacks.together(replace(stack, steps=1), prepared, 1.0))
    check_update(prepared, f"the stack {stack.name}", one_step, expected)
    with ExitStack() as processes:
        opened = [
            processes.enter_context(opacus_process.start_opacus(stack.name, device=device))
            for _ in range(effort.processes)
        ]
        one_by_one = {f"one by one {number}": process for number, process in enumerate(opened)}
        steps = {
            "stack": stacks.together(stack, prepared, LEARNING_RATE).take,
            "product": square_product(prepared.device),
            **{name: process.take for name, process in one_by_one.items()},
        }
        seconds = take_turns(steps, effort, synchronize=synchronizer(device))
    together = [taken / stack.steps for taken in seconds["stack"]]
    each = [taken / stack.victims for taken in together]
    alone = [
        taken / process.steps
        for taken_in_round in zip(*(seconds[name] for name in one_by_one), strict=True)
        for taken, process in zip(taken_in_round, opened, strict=True)
    ]
    flops = step_flops(layer_products(prepared.model(), prepared.x), len(prepared.x))
    rate = [SQUARE_PRODUCT_FLOPS / taken for taken in seconds["product"]]
    return StackTimes(
        seconds=Spread.of(together),
        victims=stack.victims,
        flops=flops,
        one_by_one_seconds=Spread.of(alone),
        over_one_by_one=ratios(alone, [taken for taken in each for _ in opened]),
        product_flops=Spread.of(rate),
        share=ratios([flops / taken for taken in each], rate),
    )


def step_memory(method: str, problem: str, *, batch_size: int, device: str, most: int) -> PeakMemory:
    """Measure the peak memory of one step, unless Opacus would take more than ``most`` bytes."""
    needed = peak_memory.per_sample_bytes(problem, batch_size=batch_size) if method in OPACUS else 0
    if needed > most:
        return PeakMemory(batch_size, None, f"would take more than {needed / 1e9:.1f} GB")
    return PeakMemory(batch_size, peak_memory.peak(method, problem, batch_size=batch_size, device=device))


def check_updates(prepared: Prepared, methods: Mapping[str, StepMethod] = STEP_METHODS) -> None:
    """Compare one step of every way that clips with Opacus' default, in full float32.

    Raises:
        WrongUpdate: an update differs; the message names the way.
    """
    expected = update(prepared, STEP_METHODS["opacus_hooks"](prepared, 1.0))
    for name, method in methods.items():
        if name not in ("plain", "opacus_hooks"):
            check_update(prepared, name, update(prepared, method(prepared, 1.0)), expected)


def check_update(prepared: Prepared, name: str, found: Tensor, expected: Tensor) -> None:
    """Compare two updates; raises as :func:`check_updates`."""
    error = float((found - expected).norm() / expected.norm())
    if not error <= _TOLERANCE:
        raise WrongUpdate(
            f"{prepared.problem.name}: the update of {name} differs by {error:.2g} of its length from Opacus': "
            f"expected {_TOLERANCE:g} at most"
        )


def update(prepared: Prepared, step: TimedStep) -> Tensor:
    """Return what one step in full float32 adds to the initial weights, as one vector."""
    with matmul_precision.tf32(False):
        step.take()
    after = step.parameters()
    return torch.cat([(after[name] - before.cpu()).flatten() for name, before in prepared.initial.items()]).double()
