"""An engine that runs jobs in threads of this process, each bundle on one processor."""

import queue
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

from gradshape_bench.engines.allocator import keep_freed_memory
from gradshape_bench.engines.base import POLL_SECONDS, Bundle, Done, Failed, Watch
from gradshape_bench.engines.work import Stopped, one_thread, perform
from gradshape_bench.jobs import Heartbeat, JobProgress


class ThreadEngine:
    """Runs bundles of jobs in threads of this process; with one worker, in the caller's own thread.

    The threads share nothing but a queue, on which they put the outcomes of their jobs, and an event that stops them.

    Args:
        workers: how many bundles run at once.
        max_memory: bytes that all stacks together may take, approximately.
        watch: called from any thread with how far a bundle is.
        limit: seconds after which a job is ended at its next step; ``None`` for no limit. What takes no steps, such as
            a filter, and code that never returns cannot be ended in a thread: that takes processes.
    """

    def __init__(
        self, *, workers: int, max_memory: int, watch: Watch | None = None, limit: float | None = None
    ) -> None:
        keep_freed_memory()
        self._workers = workers
        self._max_memory = max(1, max_memory // workers)
        self._watch = watch
        self._limit = limit

    @property
    def workers(self) -> int:
        """How many bundles run at once."""
        return self._workers

    def close(self) -> None:
        """Do nothing: this engine holds nothing between runs."""

    def run(self, bundles: Iterator[Bundle | None]) -> Generator[Done, None, None]:
        """See :class:`gradshape_bench.engines.base.Engine`."""
        with one_thread():
            if self._workers == 1:
                yield from self._inline(bundles)
            else:
                yield from self._side_by_side(bundles)

    def perform(self, bundle: Bundle, heartbeat: Heartbeat) -> Iterator[Done]:
        """Do one bundle in the calling thread."""
        return perform(bundle, max_memory=self._max_memory, heartbeat=heartbeat, limit=self._limit)

    def _inline(self, bundles: Iterator[Bundle | None]) -> Iterator[Done]:
        never = threading.Event()
        for bundle in bundles:
            if bundle is None:
                return
            yield from self.perform(bundle, self._heartbeat(never))

    def _side_by_side(self, bundles: Iterator[Bundle | None]) -> Iterator[Done]:
        stop, ended = threading.Event(), queue.SimpleQueue[Done | None]()
        pool = ThreadPoolExecutor(self._workers, initializer=torch.set_num_threads, initargs=(1,))
        running = 0
        try:
            while True:
                while running < self._workers and (bundle := next(bundles, None)) is not None:
                    pool.submit(self._work, bundle, stop, ended)
                    running += 1
                if not running:
                    return
                try:
                    done = ended.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    continue
                if done is None:
                    running -= 1
                else:
                    yield done
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _work(self, bundle: Bundle, stop: threading.Event, ended: "queue.SimpleQueue[Done | None]") -> None:
        left = dict.fromkeys(bundle)
        try:
            for job, became in self.perform(bundle, self._heartbeat(stop)):
                del left[job]
                ended.put((job, became))
        except Stopped:
            pass
        except BaseException as error:
            # Whatever ends a thread makes the jobs that it leaves undone fail: else they would be waited for in vain.
            told = error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")
            for job in left:
                ended.put((job, Failed(told)))
        finally:
            ended.put(None)

    def _heartbeat(self, stop: threading.Event) -> Heartbeat:
        identity = object()

        def beat(progress: JobProgress) -> None:
            if stop.is_set():
                raise Stopped
            if self._watch is not None:
                self._watch(identity, progress)

        return beat
