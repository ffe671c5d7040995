"""What ends a job but is no error of its own: the end of its process, of its memory or of its time."""

import signal
from collections.abc import Sequence

from gradshape_bench.jobs import AnyJob


class JobLost(RuntimeError):
    """A job was ended, and would probably be ended again. The message says what it was asked for."""


class Crashed(JobLost):
    """The job ended its process, or ran out of memory."""


class TimedOut(JobLost):
    """The job took longer than it may."""


def asked_for(jobs: Sequence[AnyJob]) -> str:
    """Say what jobs that are done together were asked for, in one phrase."""
    first, others = jobs[0], len(jobs) - 1
    beside = f" and {others} other{'s' if others > 1 else ''}" if others else ""
    return f"{first.description} on {first.dataset.name}{beside}"


def timed_out(jobs: Sequence[AnyJob], limit: float) -> TimedOut:
    """Return the error of a job that has not ended after ``limit`` seconds."""
    return TimedOut(f"{asked_for(jobs)} took more than {limit:g} s, the limit of --case-timeout")


def out_of_memory(error: BaseException) -> bool:
    """Return whether ``error`` says that there is not enough memory, of whichever device.

    >>> out_of_memory(MemoryError()), out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    (True, True)
    """
    # PyTorch has an error of its own for GPUs, and only these words for CPUs.
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and (type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error))
    )


def ending(code: int | None) -> str:
    """Say how a process ended.

    Args:
        code: its exit code, the negative number of the signal that ended it; ``None`` if that is unknown.

    >>> ending(3)
    'with exit code 3'
    >>> ending(-11)
    'by SIGSEGV'
    """
    if code is None or code >= 0:
        return f"with exit code {'unknown' if code is None else code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"by {name}{' (the system sends it when memory runs out, too)' if name == 'SIGKILL' else ''}"
