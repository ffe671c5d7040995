"""Measuring times that can be compared: steps take turns, so that changes of the machine's speed affect all alike."""

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch

# A turn takes at least this long, after a call that does not count, so that caches and waiting threads are in the state
# that the step itself leaves them in, not another one.
_TURN_SECONDS = 0.01
# Before the first round every step is called this often, or for this long.
_WARM_UP_CALLS = 3
_WARM_UP_SECONDS = 0.1


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Args:
        seconds: no round begins after this time.
        least, most: bounds on the number of rounds; at least ``least`` rounds are done, whatever ``seconds`` says.
        processes: number of processes in which to measure what differs between processes.
    """

    seconds: float
    least: int
    most: int
    processes: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise ValueError(f"least={self.least!r}, most={self.most!r}: expected 1 <= least <= most")


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of ``n`` values.

    >>> Spread.of([3.0, 1.0, 2.0])
    Spread(median=2.0, q1=1.5, q3=2.5, n=3)
    """

    median: float
    q1: float
    q3: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarize at least one value."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0], 1)
        q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, q1, q3, len(values))


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """Return the spread of the quotients of paired values, which were measured in the same round.

    >>> ratios([1.0, 4.0, 9.0], [1.0, 2.0, 3.0]).median
    2.0
    """
    return Spread.of([a / b for a, b in zip(numerators, denominators, strict=True)])


def synchronizer(device: str) -> Callable[[], None]:
    """Return a function that waits until ``device`` has done all that it was given."""
    return partial(torch.cuda.synchronize, device) if device.startswith("cuda") else lambda: None


def take_turns(
    steps: Mapping[str, Callable[[], None]], effort: Effort, *, synchronize: Callable[[], None] = lambda: None
) -> dict[str, list[float]]:
    """Time steps in turns; return, for every step, the seconds of a call in each round.

    A round gives every step one turn. A turn is one call that does not count and then as many calls as take long enough
    to be timed. The garbage collector runs between turns only. Each round starts with another step, so that no step
    always follows the same one.

    Args:
        steps: functions to time, by name.
        effort: how long to measure.
        synchronize: waits until the device has done all that it was given; called at both ends of a turn.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    with _garbage_kept():
        calls = {name: _warm_up(step, synchronize) for name, step in steps.items()}
        began = time.perf_counter()
        for done in range(effort.most):
            if done >= effort.least and time.perf_counter() - began >= effort.seconds:
                break
            first = done % len(names)
            for name in names[first:] + names[:first]:
                seconds[name].append(_turn(steps[name], calls[name], synchronize))
    return seconds


def _warm_up(step: Callable[[], None], synchronize: Callable[[], None]) -> int:
    """Call ``step`` a few times and return how many calls make a turn."""
    taken: list[float] = []
    while len(taken) < _WARM_UP_CALLS and sum(taken) < _WARM_UP_SECONDS:
        taken.append(_turn(step, 1, synchronize))
    return max(1, math.ceil(_TURN_SECONDS / max(min(taken), 1e-6)))


def _turn(step: Callable[[], None], calls: int, synchronize: Callable[[], None]) -> float:
    gc.collect()
    step()
    synchronize()
    began = time.perf_counter()
    for _ in range(calls):
        step()
    synchronize()
    return (time.perf_counter() - began) / calls


@contextmanager
def _garbage_kept() -> Iterator[None]:
    """Let the garbage collector run only when called, and skip the objects that exist already, which are most."""
    enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()
