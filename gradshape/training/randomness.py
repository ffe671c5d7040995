"""The process's random generators, which layers such as dropout draw from: one training at a time has them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_one_at_a_time = threading.Lock()


@contextmanager
def process_randomness(device: torch.device, seed: int = 0) -> Iterator[None]:
    """The generators of the CPU and of ``device``, seeded; they are put back afterwards."""
    with _one_at_a_time, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # noqa: TID251
        yield
