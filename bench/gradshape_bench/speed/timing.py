"""Times that can be compared: ways take turns, so that a machine that drifts drifts for all of them."""

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch

# A turn takes at least so long, after a call that does not count: what a step finds in the caches, and how its threads
# wait, should be its own doing, not another way's.
_TURN_SECONDS = 0.01
# Before the first round every step is called so often, or for so long.
_WARM_UP_CALLS = 3
_WARM_UP_SECONDS = 0.1


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Args:
        seconds: rounds are begun until so much time has passed.
        least, most: bounds on the number of rounds; the lower one goes before ``seconds``.
        processes: in how many processes is measured what differs from one process to the next.
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
        """Of at least one value."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0], 1)
        q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, q1, q3, len(values))


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """The spread of the quotients of paired values: those of one round, which the machine treated alike.

    >>> ratios([1.0, 4.0, 9.0], [1.0, 2.0, 3.0]).median
    2.0
    """
    return Spread.of([a / b for a, b in zip(numerators, denominators, strict=True)])


def synchronizer(device: str) -> Callable[[], None]:
    """What waits until ``device`` has done what it was given."""
    return partial(torch.cuda.synchronize, device) if device.startswith("cuda") else lambda: None


def take_turns(
    steps: Mapping[str, Callable[[], None]], effort: Effort, *, synchronize: Callable[[], None] = lambda: None
) -> dict[str, list[float]]:
    """Seconds a call of every step, one value a round; a round gives every step one turn.

    A turn of a short step is several calls, and one before them that does not count. The garbage collector runs between
    turns only. Rounds start with another step each, so that none always follows the same one.

    Args:
        steps: what to time, by name.
        effort: how many rounds.
        synchronize: waits until the device has done what it was given; called at both ends of a turn.
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
    """Call ``step`` a few times; returns how many calls make a turn."""
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
    """The collector only runs when it is called, and then skips what is there already: that is most of its work."""
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
