"""Doing the jobs of one bundle, in whatever thread or process."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from gradshape.training import train_stacks
from gradshape_bench.engines.base import Bundle, Done, Failed, JobOutcome, as_failure
from gradshape_bench.jobs import AnyJob, Finished, Heartbeat, Train


class Stopped(BaseException):
    """The run was stopped. It is no ``Exception``, so that no attack or defence takes it for an error of its own."""


def perform(bundle: Bundle, *, max_memory: int, heartbeat: Heartbeat) -> Iterator[Done]:
    """Do the jobs of a bundle, and yield each with its outcome as it ends.

    Args:
        bundle: the jobs; trainings are done as stacks.
        max_memory: bytes that a stack may take, approximately.
        heartbeat: called after every epoch of a stack and every step of an attack.
    """
    for job in bundle:
        if not isinstance(job, Train):
            yield job, _attempt(job, heartbeat)
    yield from _train([job for job in bundle if isinstance(job, Train)], max_memory, heartbeat)


def _attempt(job: AnyJob, heartbeat: Heartbeat) -> JobOutcome:
    try:
        return job.do(heartbeat)
    except Stopped:
        raise
    except BaseException as error:
        return Failed(as_failure(error))


def _train(jobs: Sequence[Train], max_memory: int, heartbeat: Heartbeat) -> Iterator[Done]:
    if not jobs:
        return
    left = dict.fromkeys(jobs)
    began = time.perf_counter()
    try:
        for members, results in train_stacks(
            jobs[0].dataset,
            [job.victim for job in jobs],
            device=jobs[0].device,
            max_memory=max_memory,
            keep_states=any(job.keep_states for job in jobs),
            progress=heartbeat,
        ):
            share = (time.perf_counter() - began) / len(members)
            for index, result in zip(members, results, strict=True):
                del left[jobs[index]]
                yield jobs[index], Finished(result, share)
            began = time.perf_counter()
    except Stopped:
        raise
    except BaseException as error:
        failure, rest = as_failure(error), list(left)
        if len(rest) == 1:
            yield rest[0], Failed(failure)
            return
    else:
        return
    # One of them is at fault: halve the stack until it is alone.
    half = len(rest) // 2
    for part in (rest[:half], rest[half:]):
        yield from _train(part, max_memory, heartbeat)


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
