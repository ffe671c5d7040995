"""Doing the jobs of one bundle, in whatever thread or process."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

from gradshape_bench.engines.base import Bundle, Done, Failed, JobOutcome, as_failure
from gradshape_bench.engines.faults import Crashed, asked_for, out_of_memory, timed_out
from gradshape_bench.jobs import AnyJob, Heartbeat, JobProgress
from gradshape_bench.plain_text import message_of

J = TypeVar("J")


class Stopped(BaseException):
    """The run was stopped. It is no ``Exception``, so that no attack or defence takes it for an error of its own."""


class _OutOfTime(BaseException):
    """A job has taken too long. It is no ``Exception`` for the same reason."""


def perform(bundle: Bundle, *, max_memory: int, heartbeat: Heartbeat, limit: float | None = None) -> Iterator[Done]:
    """Do the jobs of a bundle, and yield each with its outcome as it ends.

    Args:
        bundle: the jobs. Those that are stackable are of one type, and are done together.
        max_memory: bytes that a stack may take, approximately.
        heartbeat: called after every epoch of a stack and every step of an attack.
        limit: seconds after which a job is ended at its next heartbeat; ``None`` for no limit. A filter has none. A
            stack that takes longer is halved and begun again, so that no training is ended for what runs beside it.
    """
    for job in bundle:
        if not job.stackable:
            yield job, _attempt(job, heartbeat, limit)
    yield from _together([job for job in bundle if job.stackable], max_memory, heartbeat, limit)


def under_way(left: Bundle) -> Bundle:
    """Return the jobs that :func:`perform` is at while these are left of a bundle."""
    return next(([job] for job in left if not job.stackable), left)


def _attempt(job: AnyJob, heartbeat: Heartbeat, limit: float | None) -> JobOutcome:
    try:
        return job.do(_Clock(heartbeat, limit).beat)
    except Stopped:
        raise
    except BaseException as error:
        return _failed(job, error, limit)


def _failed(job: AnyJob, error: BaseException, limit: float | None) -> Failed:
    if isinstance(error, _OutOfTime) and limit is not None:
        return Failed(timed_out([job], limit))
    if out_of_memory(error):
        crashed = Crashed(f"{asked_for([job])} ran out of memory: {message_of(error)}")
        return Failed(crashed.with_traceback(error.__traceback__))
    return Failed(as_failure(error))


class _Clock:
    """A heartbeat that ends what is under way if it beats more than ``limit`` seconds after that was begun."""

    def __init__(self, heartbeat: Heartbeat, limit: float | None) -> None:
        self._heartbeat = heartbeat
        self._limit = math.inf if limit is None else limit
        self.restart()

    def restart(self) -> None:
        """Note that something else is begun."""
        self._began = time.monotonic()

    def beat(self, progress: JobProgress) -> None:
        if time.monotonic() - self._began > self._limit:
            raise _OutOfTime
        self._heartbeat(progress)


def _together(jobs: Bundle, max_memory: int, heartbeat: Heartbeat, limit: float | None) -> Iterator[Done]:
    if not jobs:
        return
    left = dict.fromkeys(jobs)
    clock = _Clock(heartbeat, limit)
    try:
        for job, finished in type(jobs[0]).do_together(jobs, max_memory=max_memory, heartbeat=clock.beat):
            del left[job]
            yield job, finished
            clock.restart()
    except (Stopped, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        rest = list(left)
        if len(rest) == 1:
            yield rest[0], _failed(rest[0], error, limit)
            return
    else:
        return
    # One of them is at fault: halve the stack until it is alone.
    for part in halves(rest):
        yield from _together(part, max_memory, heartbeat, limit)


def halves(jobs: Sequence[J]) -> tuple[Sequence[J], Sequence[J]]:
    """Divide jobs of which one is at fault."""
    half = len(jobs) // 2
    return jobs[:half], jobs[half:]


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit PyTorch in this thread, and NumPy and SciPy in this process, to one thread; restore the limits afterwards.

    A stack's matrix products are too small to gain much from a second processor and lose much where processors are
    shared with others, so every bundle keeps to one, and several bundles run side by side.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
