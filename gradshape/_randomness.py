"""The random generators of the process, from which dropout draws as it runs and most layers as they are built."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_one_at_a_time = threading.RLock()


@contextmanager
def process_randomness(device: torch.device, seed: int = 0) -> Iterator[None]:
    """Seed the generators of the CPU and of ``device`` and restore them afterwards; one thread at a time may do so."""
    with _one_at_a_time, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # noqa: TID251
        yield


@contextmanager
def if_nobody_draws() -> Iterator[bool]:
    """Give whether no other thread is in :func:`process_randomness`; if so, none enters it until this context ends."""
    free = _one_at_a_time.acquire(blocking=False)
    try:
        yield free
    finally:
        if free:
            _one_at_a_time.release()


def random_state(device: torch.device) -> list[Tensor]:
    """Return the states of the generators of the CPU and of ``device``."""
    return [torch.get_rng_state()] + ([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])


def set_random_state(state: list[Tensor], device: torch.device) -> None:
    """Restore the states that :func:`random_state` returned."""
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
