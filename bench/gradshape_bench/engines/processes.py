"""An engine that runs jobs in worker processes of this machine, of which each may die without ending the run."""

import logging
import queue
from collections.abc import Generator, Iterator, Sequence

from gradshape_bench.engines.agenda import Agenda, Part, all_fail
from gradshape_bench.engines.base import POLL_SECONDS, Bundle, Done, Failed, JobOutcome, Watch
from gradshape_bench.engines.faults import ending
from gradshape_bench.engines.transport import pack_jobs
from gradshape_bench.engines.worker_process import WorkerProcess, end

_log = logging.getLogger(__name__)

# Seconds that a worker has to begin with a bundle, beyond the limit of a job; it may have to import PyTorch first.
_BEGINNING = 300.0


class ProcessEngine:
    """Runs bundles of jobs in worker processes, which start when they are needed and stay until :meth:`close`.

    What is sent between the processes is pickled; classes that a new process could not import, such as those of a test
    file, are pickled by value. Two threads for each process write and read, so that no process has to wait until
    somebody advances the run; a queue is all that they share with the run.

    A worker that dies, or takes longer than the limit and is killed, is replaced by a new one, and the
    :class:`~gradshape_bench.engines.agenda.Agenda` says what becomes of its jobs.

    Args:
        workers: how many bundles run at once.
        max_memory: bytes that all stacks together may take, approximately.
        watch: called from any thread with how far a bundle is.
        limit: seconds that a job may take; ``None`` for no limit.
    """

    def __init__(
        self, *, workers: int, max_memory: int, watch: Watch | None = None, limit: float | None = None
    ) -> None:
        self._count = workers
        self._max_memory = max(1, max_memory // workers)
        self._watch = watch
        self._limit = limit
        self._workers: list[WorkerProcess] = []
        self._agenda = Agenda("worker process")
        # What a worker sent: the place of a job in its bundle (-1 for all jobs left) and its outcome; None if it died.
        self._messages: queue.SimpleQueue[tuple[WorkerProcess, tuple[int, JobOutcome] | None]] = queue.SimpleQueue()

    @property
    def workers(self) -> int:
        """How many bundles run at once."""
        return self._count

    def close(self) -> None:
        """End the worker processes."""
        end(self._workers, kindly=True)
        self._workers.clear()

    def run(self, bundles: Iterator[Bundle | None]) -> Generator[Done, None, None]:
        """See :class:`gradshape_bench.engines.base.Engine`."""
        try:
            while True:
                while (self._idle() or len(self._workers) < self._count) and (
                    part := self._agenda.next(bundles)
                ) is not None:
                    yield from self._give(part)
                if not any(worker.left for worker in self._workers):
                    return
                try:
                    worker, told = self._messages.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    for worker in self._workers:
                        worker.notice_death()
                else:
                    worker.heard += 1
                    if worker in self._workers:
                        yield from self._died(worker) if told is None else self._settle(worker, *told)
                yield from self._overdue()
        finally:
            # Nobody waits for running jobs any more.
            self._agenda.clear()
            self._remove([worker for worker in self._workers if worker.left])

    def _idle(self) -> WorkerProcess | None:
        return next((worker for worker in self._workers if not worker.left), None)

    def _give(self, part: Part) -> Iterator[Done]:
        """Send jobs to an idle worker, if need be a new one; yield those that cannot be sent, as failed."""
        try:
            worker = self._idle() or self._begin()
        except OSError as error:
            if self._workers:
                _log.warning("no further worker process can be started: %s", error)
                self._count = len(self._workers)
                self._agenda.put_back(part)
            else:
                yield from all_fail(part.jobs, f"no worker process can be started: {error}")
            return
        packed, sent, errors = pack_jobs(worker.sender, part.jobs)
        yield from ((job, Failed(error)) for job, error in errors.items())
        if sent:
            worker.give(sent, packed, again=part.again)

    def _begin(self) -> WorkerProcess:
        worker = WorkerProcess(max_memory=self._max_memory, tell=self._told, watch=self._watch)
        self._workers.append(worker)
        return worker

    def _told(self, worker: WorkerProcess, told: tuple[int, JobOutcome] | None) -> None:
        self._messages.put((worker, told))

    def _settle(self, worker: WorkerProcess, place: int, became: JobOutcome) -> Iterator[Done]:
        if place >= 0:
            yield worker.left.pop(place), became
            return
        left, worker.left = worker.left, {}
        for job in left.values():
            yield job, became

    def _died(self, worker: WorkerProcess) -> Iterator[Done]:
        how, left = ending(worker.exit_code()), list(worker.left.values())
        self._remove([worker])
        yield from self._agenda.died(left, begun=worker.begun, again=worker.again, how=how)

    def _overdue(self) -> Iterator[Done]:
        """Kill workers whose job takes too long; yield it as failed."""
        if self._limit is None:
            return
        for worker in self._workers[:]:
            if not worker.left or worker.silence() <= (self._limit if worker.begun else self._limit + _BEGINNING):
                continue
            left = list(worker.left.values())
            self._remove([worker])
            yield from self._agenda.overdue(left, begun=worker.begun, again=worker.again, limit=self._limit)

    def _remove(self, workers: Sequence[WorkerProcess]) -> None:
        end(workers, kindly=False)
        self._workers = [worker for worker in self._workers if worker not in workers]
