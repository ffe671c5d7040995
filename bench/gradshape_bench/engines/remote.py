"""What engines have in common that run each bundle as a task on other machines."""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradshape.data import Dataset
from gradshape_bench.cache import Cache
from gradshape_bench.engines.agenda import Agenda, Part, all_fail
from gradshape_bench.engines.assignment import Assignment
from gradshape_bench.engines.base import Bundle, Done, Failed, JobOutcome, Watch
from gradshape_bench.engines.transport import Begun, Sender, WorkerMessage, pack_jobs
from gradshape_bench.jobs import AnyJob, Finished
from gradshape_bench.plain_text import message_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ended:
    """A task has ended; if it left jobs undone, ``how`` says in words what became of it."""

    how: str


@dataclass(eq=False)
class Task:
    """A bundle that runs elsewhere.

    Attributes:
        assignment: what it is told.
        datasets: the data sets of its jobs, by fingerprint.
        jobs: the jobs of its bundle.
        left: those that have not ended, by their place in it.
        again: whether another task died of them.
        since: when it was begun or its latest outcome came; ``None`` while it waits for a machine.
        handle: what the engine knows it by.
    """

    assignment: Assignment
    datasets: Mapping[str, Dataset]
    jobs: Bundle
    left: dict[int, AnyJob]
    again: bool
    since: float | None = None
    handle: Any = None


# What is heard of a task: the place of a job in its bundle (-1 for what concerns all of it), and what became of it.
Heard = tuple[Task, int, WorkerMessage | Ended]


class RemoteEngine(ABC):
    """Runs bundles as tasks, which put their finished jobs into the cache themselves.

    So the cache and not this process knows what is done: a task goes on if this process is killed, and whatever it
    finished is found by the next run. A task whose job is there already does nothing.

    The :class:`~gradshape_bench.engines.agenda.Agenda` says what becomes of the jobs of a task that was lost, or that
    is ended because a job of it takes longer than the limit. The time that a task waits for a machine does not count.

    Args:
        workers: how many tasks there are at once, at most.
        cache: where the tasks put finished jobs.
        max_memory: bytes that the stack of one task may take, approximately.
        watch: called with how far a bundle is.
        limit: seconds that a job may take; ``None`` for no limit.

    Attributes:
        machines: what is known of the machines on which tasks have run.
    """

    def __init__(
        self, *, workers: int, cache: Cache, max_memory: int, watch: Watch | None = None, limit: float | None = None
    ) -> None:
        self._count = workers
        self._cache = cache
        self._max_memory = max_memory
        self._watch = watch
        self._limit = limit
        self.machines: set[str] = set()
        self._tasks: list[Task] = []
        self._agenda = Agenda("worker process")

    @property
    def workers(self) -> int:
        """How many tasks there are at once, at most."""
        return self._count

    @abstractmethod
    def close(self) -> None:
        """See :class:`gradshape_bench.engines.base.Engine`."""

    @abstractmethod
    def _begin(self, tasks: Sequence[Task]) -> None:
        """Have tasks run, as soon as there are machines for them.

        Raises:
            Exception: none of them can be run.
        """

    @abstractmethod
    def _hear(self, tasks: Sequence[Task]) -> Iterable[Heard]:
        """Return all that was told by tasks since the last time, waiting for a moment if there is nothing."""

    @abstractmethod
    def _end(self, tasks: Sequence[Task]) -> None:
        """End tasks, whatever they are doing."""

    def _unnamed(self) -> Path | None:
        """Return where tasks put what may not be kept for other sessions; ``None`` if they need not put it anywhere."""
        return None

    def _outcome(self, job: AnyJob, told: Finished[Any]) -> JobOutcome:
        """Return the outcome of a job of which its task told that it is finished."""
        # What a task kept may be on a disk of its own.
        return Finished(told.result, told.seconds, kept=told.kept and self._cache.holds(job.key))

    def run(self, bundles: Iterator[Bundle | None]) -> Generator[Done, None, None]:
        """See :class:`gradshape_bench.engines.base.Engine`."""
        try:
            while True:
                parts = list(self._idle_parts(bundles))
                if parts:
                    yield from self._give(parts)
                elif not self._tasks:
                    return
                for task, place, told in self._hear(self._tasks):
                    yield from self._take(task, place, told)
                yield from self._overdue()
        finally:
            # Nobody waits for running jobs any more.
            self._agenda.clear()
            tasks, self._tasks = self._tasks, []
            self._end(tasks)

    def _idle_parts(self, bundles: Iterator[Bundle | None]) -> Iterator[Part]:
        for _ in range(self._count - len(self._tasks)):
            part = self._agenda.next(bundles)
            if part is None:
                return
            yield part

    def _give(self, parts: Sequence[Part]) -> Iterator[Done]:
        """Begin tasks of these parts; yield the jobs that cannot be sent or begun, as failed."""
        tasks: list[Task] = []
        for part in parts:
            # What the jobs are done on is sent apart from them.
            datasets = {job.dataset.fingerprint: job.dataset for job in part.jobs}
            packed, sent, errors = pack_jobs(Sender(datasets), part.jobs)
            yield from ((job, Failed(error)) for job, error in errors.items())
            if sent:
                assignment = Assignment.of(
                    packed, sent, cache=self._cache.folder, unnamed=self._unnamed(), max_memory=self._max_memory
                )
                tasks.append(Task(assignment, datasets, sent, dict(enumerate(sent)), part.again))
        if not tasks:
            return
        try:
            self._begin(tasks)
        except Exception as error:
            if self._tasks:
                _log.warning("no further task can be begun: %s", message_of(error))
                self._count = len(self._tasks)
                for task in reversed(tasks):
                    self._agenda.put_back(Part(task.jobs, task.again))
            else:
                for task in tasks:
                    yield from all_fail(task.jobs, f"no task can be begun: {message_of(error)}")
            return
        self._tasks += tasks

    def _take(self, task: Task, place: int, told: WorkerMessage | Ended) -> Iterator[Done]:
        if isinstance(told, Ended):
            self._tasks.remove(task)
            if task.left:
                left, begun = list(task.left.values()), task.since is not None
                yield from self._agenda.died(left, begun=begun, again=task.again, how=told.how)
        elif isinstance(told, Begun):
            self.machines.add(told.machine)
            task.since = time.monotonic()
        elif isinstance(told, Failed) and place < 0:
            left, task.left = list(task.left.values()), {}
            yield from ((job, told) for job in left)
        elif isinstance(told, Finished | Failed):
            task.since = time.monotonic()
            job = task.left.pop(place)
            yield job, told if isinstance(told, Failed) else self._outcome(job, told)
        elif self._watch is not None:
            self._watch(task, told)

    def _overdue(self) -> Iterator[Done]:
        """End tasks whose job takes too long; yield it as failed."""
        if self._limit is None:
            return
        for task in self._tasks[:]:
            if task.left and task.since is not None and time.monotonic() - task.since > self._limit:
                self._tasks.remove(task)
                self._end([task])
                left = list(task.left.values())
                yield from self._agenda.overdue(left, begun=True, again=task.again, limit=self._limit)
