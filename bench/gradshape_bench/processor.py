"""What is known of the machine that a process runs on, by which it rounds."""

import platform
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

from gradshape_bench.plain_text import plain


@cache
def processor() -> str:
    """Return what is known of the processor: its name, and its instructions as PyTorch uses them."""
    name = platform.processor()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return plain(f"{name or 'unknown'} ({torch.backends.cpu.get_cpu_capability()})")


@cache
def machine() -> str:
    """Return the processor and the first GPU, if there is one."""
    gpu = f", {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else ""
    return processor() + gpu
