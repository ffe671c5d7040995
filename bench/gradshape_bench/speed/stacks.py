"""The stacks that are timed: victims that are trained together."""

from dataclasses import dataclass

import torch

from gradshape_bench.speed import problems
from gradshape_bench.speed.library_steps import Parameters, TimedStep, stacked
from gradshape_bench.speed.problems import Prepared, Problem

# How many steps victims of small networks take before the next ones do. A training takes all its steps in a row and so
# finds the weights in the cache at every step but the first.
_STEPS = 20


@dataclass(frozen=True)
class TimedStack:
    """``victims`` networks that differ in their weights and share the batch.

    Args:
        problem: network and batch.
        victims: number of victims.
        steps: how many steps victims that fit in the cache together take before the next ones do.
    """

    problem: Problem
    victims: int
    steps: int = _STEPS

    @property
    def name(self) -> str:
        """The name of the stack in test ids and on the page."""
        return f"{self.problem.name}_k{self.victims}"


STACKS = (
    TimedStack(problems.LR_784, 256),
    TimedStack(problems.LR, 64),
    TimedStack(problems.MLP, 32),
    TimedStack(problems.CNN, 8, steps=1),
)


def together(stack: TimedStack, prepared: Prepared, lr: float) -> TimedStep:
    """Return the steps of all victims, as the library takes them."""
    return stacked(prepared, [prepared.initial, *_others(stack, stack.victims - 1)], lr, steps=stack.steps)


def _others(stack: TimedStack, count: int) -> list[Parameters]:
    seeds = range(1, count + 1)
    return [stack.problem.build(torch.Generator().manual_seed(seed)).state_dict() for seed in seeds]
