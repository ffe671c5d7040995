"""Independent random streams from one seed."""

import hashlib

import torch


def derive(seed: int, *labels: str | int) -> int:
    """Return a 63-bit seed for the stream that ``labels`` name, the same on every machine and in every process."""
    text = "/".join(map(str, (seed, *labels)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def stream(seed: int, *labels: str | int) -> torch.Generator:
    """Return a CPU generator for the stream that ``labels`` name."""
    return torch.Generator().manual_seed(derive(seed, *labels))
