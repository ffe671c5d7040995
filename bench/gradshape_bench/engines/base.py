"""What an engine is: it takes bundles of jobs, and gives back what became of each job."""

import os
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gradshape_bench.jobs import AnyJob, Finished, JobProgress

# Seconds after which an idle worker asks for a bundle again, though no job has ended.
POLL_SECONDS = 0.2
# Jobs that are done together: the victims of a stack, or a single job.
Bundle = Sequence[AnyJob]
# Called with the identity of a bundle and how far it is.
Watch = Callable[[Hashable, JobProgress], None]


@dataclass(frozen=True, eq=False)
class Failed:
    """What became of a job that could not be done."""

    error: Exception


JobOutcome = Finished[Any] | Failed
Done = tuple[AnyJob, JobOutcome]


class Engine(Protocol):
    """Runs bundles of jobs. It knows nothing of cases, of the scheduler or of the cache."""

    @property
    def workers(self) -> int:
        """How many bundles it runs side by side, at least 1."""
        ...

    def run(self, bundles: Iterator[Bundle | None]) -> Generator[Done, None, None]:
        """Run bundles side by side.

        A bundle is taken from ``bundles`` whenever a worker is free, and only while this generator is being advanced,
        by who advances it. ``None`` says that there is none for now: the engine asks again when a job has ended or some
        time has passed, and ends if nothing is running.

        Every job of a bundle that was taken is given back once, as soon as it has ended: one that fails does not take
        the others of its bundle with it. What is running goes on while nobody advances the generator. Closing it, or an
        interrupt, stops what is running at its next step; nothing of it is given back.
        """
        ...

    def close(self) -> None:
        """Give back what it holds beyond a run; it may be used again."""
        ...


def processors() -> int:
    """Number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
