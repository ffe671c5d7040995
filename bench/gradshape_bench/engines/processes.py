"""An engine that runs jobs in worker processes of this machine, of which each may die without ending the run."""

import logging
import queue
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

from gradshape_bench.engines.base import POLL_SECONDS, Bundle, Done, Failed, JobOutcome, Watch
from gradshape_bench.engines.faults import Crashed, asked_for, ending, timed_out
from gradshape_bench.engines.transport import unsendable
from gradshape_bench.engines.work import halves, under_way
from gradshape_bench.engines.worker_process import WorkerProcess, end
from gradshape_bench.jobs import AnyJob
from gradshape_bench.matmul_precision import tf32_settings

_log = logging.getLogger(__name__)

# Seconds that a worker has to begin with a bundle, beyond the limit of a job; it may have to import PyTorch first.
_BEGINNING = 300.0


@dataclass(frozen=True)
class _Part:
    """Jobs for one worker, and whether another one died of them."""

    jobs: Bundle
    again: bool = False


class ProcessEngine:
    """Runs bundles of jobs in worker processes, which start when they are needed and stay until :meth:`close`.

    What is sent between the processes is pickled; classes that a new process could not import, such as those of a test
    file, are pickled by value. Two threads for each process write and read, so that no process has to wait until
    somebody advances the run; a queue is all that they share with the run.

    If a worker dies, a new one does what is left of its bundle. If that one dies, too, the job that it was at fails
    with :class:`Crashed`; of a stack of trainings it is found by halving. A worker whose job, or stack, takes longer
    than the limit is killed, and the job fails with :class:`TimedOut`; a stack is halved here, too, so that no training
    fails for what runs beside it. All other jobs of the bundle are done by the next worker.

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
        self._waiting: deque[_Part] = deque()
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
                while (self._idle() or len(self._workers) < self._count) and (part := self._next(bundles)) is not None:
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
            self._waiting.clear()
            self._remove([worker for worker in self._workers if worker.left])

    def _idle(self) -> WorkerProcess | None:
        return next((worker for worker in self._workers if not worker.left), None)

    def _next(self, bundles: Iterator[Bundle | None]) -> _Part | None:
        """Return what is to be done next; ``None`` if there is nothing for now."""
        if self._waiting:
            return self._waiting.popleft()
        bundle = next(bundles, None)
        return None if bundle is None else _Part(bundle)

    def _give(self, part: _Part) -> Iterator[Done]:
        """Send jobs to an idle worker, if need be a new one; yield those that cannot be sent, as failed."""
        try:
            worker = self._idle() or self._begin()
        except OSError as error:
            if self._workers:
                _log.warning("no further worker process can be started: %s", error)
                self._count = len(self._workers)
                self._waiting.appendleft(part)
            else:
                yield from _all_fail(part.jobs, f"no worker process can be started: {error}")
            return
        sent = list(part.jobs)
        try:
            packed = worker.sender.pack((tf32_settings(), sent))
        except Exception:
            errors = {job: unsendable(job) for job in sent}
            yield from ((job, Failed(error)) for job, error in errors.items() if error is not None)
            sent = [job for job, error in errors.items() if error is None]
            if not sent:
                return
            packed = worker.sender.pack((tf32_settings(), sent))
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
        if not left:
            _log.info("an idle worker process ended %s", how)
        elif not worker.again:
            _log.warning("a worker process ended %s: %d jobs are done again", how, len(left))
            self._waiting.append(_Part(left, again=True))
        elif not worker.begun:
            yield from _all_fail(left, f"two worker processes ended before they began with this, the latter {how}")
        else:

            def crashed(job: AnyJob) -> Exception:
                return Crashed(f"{asked_for([job])} ended its process twice, {how}")

            yield from self._blame(left, crashed, again=True)

    def _overdue(self) -> Iterator[Done]:
        """Kill workers whose job takes too long; yield it as failed."""
        if self._limit is None:
            return
        limit = self._limit
        for worker in self._workers[:]:
            if not worker.left or worker.silence() <= (limit if worker.begun else limit + _BEGINNING):
                continue
            left = list(worker.left.values())
            self._remove([worker])
            _log.warning("a worker process has not ended %s in %g s and is killed", asked_for(left), limit)
            if worker.begun:
                yield from self._blame(left, lambda job: timed_out([job], limit), again=False)
            elif worker.again:
                yield from _all_fail(left, "two worker processes have not even begun with this in time")
            else:
                self._waiting.append(_Part(left, again=True))

    def _blame(self, left: Bundle, error: Callable[[AnyJob], Exception], *, again: bool) -> Iterator[Done]:
        """Yield the job that a worker was at as failed, or halve the stack that it was at; do all others again."""
        guilty = under_way(left)
        innocent = [job for job in left if job not in guilty]
        if len(guilty) == 1:
            yield guilty[0], Failed(error(guilty[0]))
        else:
            self._waiting.extend(_Part(part, again) for part in halves(guilty))
        if innocent:
            self._waiting.append(_Part(innocent))

    def _remove(self, workers: Sequence[WorkerProcess]) -> None:
        end(workers, kindly=False)
        self._workers = [worker for worker in self._workers if worker not in workers]


def _all_fail(jobs: Bundle, why: str) -> Iterator[Done]:
    for job in jobs:
        yield job, Failed(RuntimeError(why))
