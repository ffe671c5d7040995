"""Keeping the allocator from giving memory back between training steps."""

import ctypes
import sys
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keeps_freed_memory() -> bool:
    """Whether :func:`keep_freed_memory` was called in this process."""
    return keep_freed_memory.cache_info().currsize > 0


@cache
def keep_freed_memory() -> bool:
    """Let glibc reuse freed memory instead of returning it to the system; ``False`` where there is no glibc.

    Every step allocates and frees the same large activations. By default each of them is mapped afresh and cleared
    page by page, which took half of the time of a convolutional network's training. Threads share one arena, because
    only the main one is not limited to small blocks.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    limits = ((_M_MMAP_THRESHOLD, 1 << 30), (_M_TRIM_THRESHOLD, (1 << 31) - 1), (_M_ARENA_MAX, 1))
    accepted: list[int] = [mallopt(option, value) for option, value in limits]
    return 0 not in accepted
