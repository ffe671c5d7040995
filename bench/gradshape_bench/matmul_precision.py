"""How GPUs multiply float32 matrices."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 inside, in matrix products and in convolutions; as before afterwards.

    TF32 keeps 10 bits of a factor instead of 23. PyTorch allows it in convolutions unless told otherwise. Both settings
    are the process's, and do nothing on a CPU.

    >>> with tf32(True):
    ...     tf32_settings()
    {'tf32': True, 'tf32_convolutions': True}
    """
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = allowed
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before


def tf32_settings() -> dict[str, bool]:
    """Where TF32 is allowed now, in matrix products and in convolutions."""
    return {
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        "tf32_convolutions": torch.backends.cudnn.allow_tf32,
    }


def restore_tf32(settings: Mapping[str, bool]) -> None:
    """Allow TF32 where :func:`tf32_settings` said, in another process, that it is."""
    torch.backends.cuda.matmul.allow_tf32 = settings["tf32"]
    torch.backends.cudnn.allow_tf32 = settings["tf32_convolutions"]
