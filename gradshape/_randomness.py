"""The random generators of the process: torch's, from which dropout and most layers draw, NumPy's and Python's.

They belong to all threads together. What user code draws is a matter of the seed alone if every thread whose code may
draw does so within :func:`process_randomness`, and whoever restores the generators does so within that or
:func:`exclusive_randomness`: one thread at a time is in there.
"""

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradshape import _seeds

_one_at_a_time = threading.RLock()


@dataclass(frozen=True, eq=False)
class HostState:
    """The states of the global generators of Python and NumPy, which layers draw from that are dropped at random."""

    python: tuple[Any, ...]
    numpy: dict[str, Any]

    @classmethod
    def now(cls) -> "HostState":
        """Return the present states."""
        return cls(random.getstate(), np.random.get_state(legacy=False))  # noqa: NPY002

    def restore(self) -> None:
        """Make these the present states."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002

    def equals(self, other: "HostState") -> bool:
        """Return whether the two give the same numbers."""
        one, two = self.numpy, other.numpy
        same = self.python == other.python and one.keys() == two.keys()
        return same and one["state"]["pos"] == two["state"]["pos"] and _equal(one["state"]["key"], two["state"]["key"])


def _equal(one: Any, other: Any) -> bool:
    return bool(np.array_equal(one, other))


@dataclass(frozen=True, eq=False)
class RandomState:
    """The states of the generators.

    Attributes:
        torch: of torch's generators of the CPU and of the device, if that is another.
        host: of NumPy's legacy generator and of Python's module ``random``.
    """

    torch: tuple[Tensor, ...]
    host: HostState


@contextmanager
def process_randomness(device: torch.device, seed: int = 0) -> Iterator[None]:
    """Seed the generators, each with a seed of its own, and restore them afterwards; one thread at a time may do so.

    Args:
        device: whose generator is seeded beside that of the CPU.
        seed: in [0, 2**64).
    """
    with _one_at_a_time:
        before = random_state(device)
        try:
            torch.default_generator.manual_seed(seed)
            if device.type == "cuda":
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
            # Both generators are of one kind: of one seed they draw the same numbers.
            numpy_seed = _seeds.derive(seed, "numpy")
            np.random.seed([numpy_seed & 0xFFFFFFFF, numpy_seed >> 32])  # noqa: NPY002
            random.seed(_seeds.derive(seed, "python"))
            yield
        finally:
            set_random_state(before, device)


@contextmanager
def exclusive_randomness() -> Iterator[None]:
    """Keep all other threads out of :func:`process_randomness`; needed from reading a state to restoring it."""
    with _one_at_a_time:
        yield


def random_state(device: torch.device) -> RandomState:
    """Return the states of the generators, with torch's of the CPU and of ``device``."""
    with _one_at_a_time:
        return RandomState(torch_state(device), HostState.now())


@contextmanager
def if_nobody_draws() -> Iterator[bool]:
    """Give whether no other thread is in :func:`process_randomness`; if so, none enters it until this context ends."""
    free = _one_at_a_time.acquire(blocking=False)
    try:
        yield free
    finally:
        if free:
            _one_at_a_time.release()


def set_random_state(state: RandomState, device: torch.device) -> None:
    """Restore the states that :func:`random_state` returned."""
    with _one_at_a_time:
        set_torch_state(state.torch, device)
        state.host.restore()


def torch_state(device: torch.device) -> tuple[Tensor, ...]:
    """Return the states of torch's generators alone, of the CPU and of ``device``, which is quicker."""
    others = (torch.cuda.get_rng_state(device),) if device.type == "cuda" else ()
    return torch.get_rng_state(), *others


def set_torch_state(state: Sequence[Tensor], device: torch.device) -> None:
    """Restore the states that :func:`torch_state` returned."""
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
