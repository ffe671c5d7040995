"""The interface of an engine, which takes bundles of jobs and gives back the outcome of each job."""

import os
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gradshape_bench.jobs import AnyJob, Finished, JobProgress
from gradshape_bench.plain_text import message_of

# Seconds after which an idle worker asks for a bundle again, though no job has ended.
POLL_SECONDS = 0.2
# Jobs that are done together: the victims of a stack, or a single job.
Bundle = Sequence[AnyJob]
# Called with the identity of a bundle and how far it is.
Watch = Callable[[Hashable, JobProgress], None]


@dataclass(frozen=True, eq=False)
class Failed:
    """The outcome of a job that raised an error."""

    error: Exception


class EndedByCode(RuntimeError):
    """The user's code raised what is no ``Exception``, such as ``SystemExit`` or a test framework's skip.

    Attributes:
        kind: name of the class of what it raised.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind

    def __str__(self) -> str:
        return str(self.args[1])


def as_failure(error: BaseException) -> Exception:
    """Return what the user's code raised as an error of its job, which must not end the run.

    Raises:
        KeyboardInterrupt: the user interrupts, or the code says so.
    """
    if isinstance(error, Exception):
        return error
    if isinstance(error, KeyboardInterrupt):
        raise error
    return EndedByCode(type(error).__name__, message_of(error)).with_traceback(error.__traceback__)


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

        The engine takes a bundle from ``bundles`` whenever a worker is idle, and only while this generator is being
        advanced, in the thread that advances it. ``None`` says that there is no bundle for now: the engine asks again
        when a job has ended or some time has passed, and returns if nothing is running.

        Every job of a bundle that was taken is given back once, as soon as it has ended; one that fails does not make
        the others of its bundle fail. One that took too long or ended its worker fails with a
        :class:`~gradshape_bench.engines.JobLost`, which says what it was asked for. Jobs go on running while nobody
        advances the generator. Closing it, or an interrupt, stops running jobs at their next step; these are not given
        back.
        """
        ...

    def close(self) -> None:
        """Release what the engine holds between runs; it may be used again."""
        ...


def processors() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
