"""Ending a worker process whose parent is gone, however that ended."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import wait

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Let this process end as soon as the one that started it does, even if that is killed.

    On Linux it ends with the thread that started it, which is the one that advances the run.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()
    if sys.platform.startswith("linux"):
        # The kernel sees to it even if this process is stopped, or in foreign code that lets no thread run.
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
