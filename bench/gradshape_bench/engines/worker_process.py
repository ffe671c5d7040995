"""A worker process, as the process that started it sees it."""

import multiprocessing
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Final

from gradshape_bench.engines.base import Bundle, Failed, JobOutcome, Watch
from gradshape_bench.engines.transport import Begun, Sender, unpack_message
from gradshape_bench.engines.worker import NOTHING_MORE, serve
from gradshape_bench.jobs import AnyJob, Finished

# Seconds that a process has to end by itself before it is killed, and that its threads here have after it.
_GRACE = 1.0
# How processes are started, as multiprocessing calls it: the tests have a quicker way.
_START: Final = "spawn"


class WorkerProcess:
    """A worker process and the bundle that it works on.

    Two threads write what it is given and read what it sends, so that neither it nor the run waits for the other. All
    else is for the thread that advances the run.

    Args:
        max_memory: bytes that a stack may take, approximately.
        tell: called in the reading thread with the place of a job in the bundle (-1 for all that are left) and its
            outcome, and with ``None`` when the process has ended.
        watch: called in the reading thread with how far the bundle is.

    Attributes:
        sender: packs what is sent to it.
        left: jobs of the bundle that have not ended, by their place in it; empty while the worker is idle.
        again: whether another worker died of this bundle.
        heard: outcomes and ends that have been taken from the queue in which ``tell`` puts them.

    Raises:
        OSError: the system starts no further process.
    """

    def __init__(
        self,
        *,
        max_memory: int,
        tell: Callable[["WorkerProcess", tuple[int, JobOutcome] | None], None],
        watch: Watch | None,
    ) -> None:
        context = multiprocessing.get_context(_START)
        ours, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(target=serve, args=(theirs, max_memory), daemon=True)
        try:
            self._process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self.sender = Sender()
        self.left: dict[int, AnyJob] = {}
        self.again = False
        self.heard = 0
        self._connection: Connection = ours
        self._tell, self._watch = tell, watch
        self._bundle: object = None
        self._told = 0
        self._given = 0.0
        # When the bundle was begun or its latest outcome came.
        self._since: float | None = None
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._read, self._write)]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int | None:
        """Process id."""
        return self._process.pid

    @property
    def begun(self) -> bool:
        """Whether it has begun with its bundle."""
        return self._since is not None

    def give(self, jobs: Bundle, packed: bytes, *, again: bool) -> None:
        """Send an idle worker a bundle. If the process is dead, its reader says so."""
        self.left, self.again, self._bundle = dict(enumerate(jobs)), again, object()
        self._since, self._given = None, time.monotonic()
        self._outbox.put(packed)

    def silence(self) -> float:
        """Return the seconds since it was given its bundle, began with it or sent the latest outcome.

        It is 0 if something that it sent has not been taken from the queue yet.
        """
        if self.heard < self._told:
            return 0.0
        return time.monotonic() - (self._given if self._since is None else self._since)

    def notice_death(self) -> None:
        """Tell that the process has ended if its reader cannot, because a process of its own keeps the pipe open."""
        if self.left and not self._process.is_alive():
            reader = self._threads[0]
            reader.join(_GRACE)
            if reader.is_alive():
                self._note(None)

    def exit_code(self) -> int | None:
        """Wait for the end of a process that has ended or is about to, and return its exit code."""
        self._process.join(5 * _GRACE)
        return self._process.exitcode

    def _note(self, told: tuple[int, JobOutcome] | None) -> None:
        self._told += 1
        self._tell(self, told)

    def _read(self) -> None:
        while True:
            try:
                place, told = unpack_message(self._connection.recv_bytes())
            except Exception:
                # The process is gone, or what it sends cannot be understood: either way there is no more of it.
                self._note(None)
                return
            if isinstance(told, Begun):
                self._since = time.monotonic()
            elif isinstance(told, Finished | Failed):
                self._since = time.monotonic()
                self._note((place, told))
            elif self._watch is not None:
                self._watch(self._bundle, told)

    def _write(self) -> None:
        while (packed := self._outbox.get()) is not None:
            with suppress(OSError):
                self._connection.send_bytes(packed)
            # There may be rows in it.
            del packed


def end(workers: Sequence[WorkerProcess], *, kindly: bool) -> None:
    """End processes: ask them, wait for a moment, and kill those that are still there.

    Args:
        workers: the processes.
        kindly: whether they are idle and may end by themselves.
    """
    for worker in workers:
        if kindly:
            worker._outbox.put(NOTHING_MORE)
        else:
            worker._process.terminate()
    patience = time.monotonic() + (5 * _GRACE if kindly else _GRACE)
    for worker in workers:
        worker._process.join(max(0.0, patience - time.monotonic()))
    for worker in workers:
        if worker._process.is_alive():
            worker._process.kill()
            worker._process.join(_GRACE)
        worker._outbox.put(None)
        for thread in worker._threads:
            thread.join(_GRACE)
        # A thread that is still in a call would go on with whatever takes the place of what is closed.
        if not any(thread.is_alive() for thread in worker._threads):
            worker._connection.close()
            with suppress(ValueError):
                worker._process.close()
