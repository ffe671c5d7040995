"""The process's random generators, which layers draw from: dropout as it runs, many as they are built."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_one_at_a_time = threading.RLock()


@contextmanager
def process_randomness(device: torch.device, seed: int = 0) -> Iterator[None]:
    """Seed the generators of the CPU and of ``device``, and put them back afterwards; one thread at a time has them."""
    with _one_at_a_time, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # noqa: TID251
        yield
