"""The precision with which GPUs multiply float32 matrices: full, or TF32."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 within the context, in matrix products and convolutions; restore the settings after it.

    TF32 keeps 10 bits of each factor instead of 23. PyTorch allows it in convolutions by default. Both settings apply
    to the whole process and have no effect on CPUs.

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
    """Return whether TF32 is allowed now, in matrix products and in convolutions."""
    return {"tf32": torch.backends.cuda.matmul.allow_tf32, "tf32_convolutions": torch.backends.cudnn.allow_tf32}


def restore_tf32(settings: Mapping[str, bool]) -> None:
    """Apply the settings that :func:`tf32_settings` returned in another process."""
    torch.backends.cuda.matmul.allow_tf32 = settings["tf32"]
    torch.backends.cudnn.allow_tf32 = settings["tf32_convolutions"]
