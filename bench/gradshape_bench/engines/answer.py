"""Doing the jobs of a bundle and telling of each, in a process of its own."""

import time
from collections.abc import Callable, Mapping

from gradshape_bench.engines.transport import WorkerMessage
from gradshape_bench.engines.work import perform
from gradshape_bench.jobs import AnyJob, JobProgress

# Called with the place of a job in its bundle and what became of it; -1 for what concerns the bundle.
Tell = Callable[[int, WorkerMessage], None]


def answer(jobs: Mapping[int, AnyJob], *, max_memory: int, interval: float, tell: Tell) -> None:
    """Do jobs of a bundle, and tell the outcome of each as it ends, and in between how far they are.

    Args:
        jobs: by their place in the bundle.
        max_memory: bytes that a stack may take, approximately.
        interval: seconds between two messages on how far they are, at least.
        tell: takes the messages.
    """
    told = 0.0

    def beat(progress: JobProgress) -> None:
        nonlocal told
        if time.monotonic() - told > interval:
            told = time.monotonic()
            tell(-1, progress)

    places = {id(job): place for place, job in jobs.items()}
    for job, became in perform(list(jobs.values()), max_memory=max_memory, heartbeat=beat):
        tell(places[id(job)], became)
