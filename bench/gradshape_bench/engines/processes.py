"""An engine that runs jobs in worker processes of this machine, of which each may die without ending the run."""

import logging
import multiprocessing
import queue
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from gradshape_bench.engines.base import POLL_SECONDS, Bundle, Done, Failed, JobOutcome, Watch
from gradshape_bench.engines.transport import Sender, unpack_message, unsendable
from gradshape_bench.engines.worker import NOTHING_MORE, serve
from gradshape_bench.jobs import AnyJob, Finished
from gradshape_bench.matmul_precision import tf32_settings

_log = logging.getLogger(__name__)

# How many seconds a process has to end by itself before it is killed.
_GRACE = 5.0


class WorkerDied(RuntimeError):
    """The worker process that did a job died, and so did the one that did it again."""


@dataclass(eq=False)
class _Worker:
    """A worker process and the bundle that it works on.

    Attributes:
        reader: thread that reads what the process sends, until the process ends.
        left: jobs of the bundle that have not ended, by their place in it; empty while the worker is idle.
        bundle: identity of the bundle.
        again: whether another worker died of this bundle.
    """

    process: SpawnProcess
    connection: Connection
    sender: Sender
    reader: threading.Thread = field(default_factory=threading.Thread)
    left: dict[int, AnyJob] = field(default_factory=dict)
    bundle: object = None
    again: bool = False


class ProcessEngine:
    """Runs bundles of jobs in worker processes, which start when they are needed and stay until :meth:`close`.

    What is sent between the processes is pickled; classes that a new process could not import, such as those of a test
    file, are pickled by value. One thread for each process reads what that process sends, so that no process has to
    wait until somebody advances the run; a queue is all that it shares with the run. If a worker dies, a new one does
    what is left of its bundle; if that one dies, too, these jobs fail with :class:`WorkerDied`.

    Args:
        workers: how many bundles run at once.
        max_memory: bytes that all stacks together may take, approximately.
        watch: called from any thread with how far a bundle is.
    """

    def __init__(self, *, workers: int, max_memory: int, watch: Watch | None = None) -> None:
        self._count = workers
        self._max_memory = max(1, max_memory // workers)
        self._watch = watch
        self._workers: list[_Worker] = []
        # What a worker sent: the place of a job in its bundle (-1 for all jobs left) and its outcome; None if it died.
        self._messages: queue.SimpleQueue[tuple[_Worker, tuple[int, JobOutcome] | None]] = queue.SimpleQueue()

    @property
    def workers(self) -> int:
        """How many bundles run at once."""
        return self._count

    def close(self) -> None:
        """End the worker processes."""
        for worker in self._workers:
            with suppress(OSError):
                worker.connection.send_bytes(NOTHING_MORE)
        for worker in self._workers:
            worker.process.join(_GRACE)
            _end(worker)
        self._workers.clear()

    def run(self, bundles: Iterator[Bundle | None]) -> Generator[Done, None, None]:
        """See :class:`gradshape_bench.engines.base.Engine`."""
        try:
            while True:
                while (worker := self._idle()) is not None and (bundle := next(bundles, None)) is not None:
                    yield from self._give(worker, dict(enumerate(bundle)))
                if not any(worker.left for worker in self._workers):
                    return
                try:
                    worker, told = self._messages.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    continue
                if worker in self._workers:
                    yield from self._died(worker) if told is None else self._settle(worker, *told)
        finally:
            # Nobody waits for running jobs any more.
            for worker in [worker for worker in self._workers if worker.left]:
                worker.process.terminate()
                worker.process.join(_GRACE)
                self._remove(worker)

    def _idle(self) -> _Worker | None:
        """Return an idle worker, if need be a new one; ``None`` if all are busy."""
        for worker in self._workers:
            if not worker.left:
                return worker
        return self._begin() if len(self._workers) < self._count else None

    def _begin(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, self._max_memory), daemon=True)
        process.start()
        theirs.close()
        worker = _Worker(process, ours, Sender())
        worker.reader = threading.Thread(target=self._read, args=(worker,), daemon=True)
        worker.reader.start()
        self._workers.append(worker)
        return worker

    def _give(self, worker: _Worker, jobs: Mapping[int, AnyJob], *, again: bool = False) -> Iterator[Done]:
        """Send jobs to an idle worker; yield those that cannot be sent, as failed."""
        sent = list(jobs.values())
        try:
            packed = worker.sender.pack((tf32_settings(), sent))
        except Exception:
            errors = {job: unsendable(job) for job in sent}
            yield from ((job, Failed(error)) for job, error in errors.items() if error is not None)
            sent = [job for job, error in errors.items() if error is None]
            if not sent:
                return
            packed = worker.sender.pack((tf32_settings(), sent))
        worker.left, worker.bundle, worker.again = dict(enumerate(sent)), object(), again
        # If the process is dead, its reader says so.
        with suppress(OSError):
            worker.connection.send_bytes(packed)

    def _read(self, worker: _Worker) -> None:
        while True:
            try:
                place, told = unpack_message(worker.connection.recv_bytes())
            except (EOFError, OSError):
                self._messages.put((worker, None))
                return
            if isinstance(told, Finished | Failed):
                self._messages.put((worker, (place, told)))
            elif self._watch is not None:
                self._watch(worker.bundle, told)

    def _settle(self, worker: _Worker, place: int, became: JobOutcome) -> Iterator[Done]:
        if place >= 0:
            yield worker.left.pop(place), became
            return
        left, worker.left = worker.left, {}
        for job in left.values():
            yield job, became

    def _died(self, worker: _Worker) -> Iterator[Done]:
        worker.process.join(_GRACE)
        code, left, again = worker.process.exitcode, worker.left, worker.again
        self._remove(worker)
        if again:
            _log.warning("a worker process died again (exit code %s): %d jobs fail", code, len(left))
            for job in left.values():
                yield job, Failed(WorkerDied(f"the process that did this job died twice, with exit code {code}"))
            return
        _log.warning("a worker process died (exit code %s): %d jobs are done again", code, len(left))
        yield from self._give(self._begin(), left, again=True)

    def _remove(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        _end(worker)


def _end(worker: _Worker) -> None:
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()
    worker.process.close()
    worker.reader.join()
    worker.connection.close()
