"""An engine on Ray: bundles are tasks of a cluster."""

import logging
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gradshape_bench.cache import Cache
from gradshape_bench.engines.assignment import Assignment, carry_out
from gradshape_bench.engines.base import POLL_SECONDS, Failed, Watch, processors
from gradshape_bench.engines.ray_options import RayOptions
from gradshape_bench.engines.remote import Ended, Heard, RemoteEngine, Task
from gradshape_bench.engines.transport import (
    Receiver,
    WorkerMessage,
    dataset_of,
    pack_message,
    rows_of,
    unpack_message,
)
from gradshape_bench.plain_text import message_of

# Seconds between two messages on how far a bundle is.
_INTERVAL = 1.0
Rows = tuple[Mapping[str, Any], Mapping[str, np.ndarray[Any, Any]]]


class RayEngine(RemoteEngine):
    """Runs bundles as tasks of a Ray cluster, or of one that it starts on this machine.

    Ray is given each data set once, and hands it to the tasks. A task tells of every job as it ends, and puts it into
    the cache before, where the next run finds it even if this process is killed. The machines need not share the
    cache's disk; what this process does not find there it puts there itself. Ray repeats nothing: a task that was lost
    with its process or its machine, or killed because memory ran out, is done once more here, and then its job is
    recorded as crashed. An error of a job is never repeated.

    Args:
        options: which cluster, and what a task asks for.
        cache: where the tasks put finished jobs.
        max_memory: bytes that the stack of one task may take, approximately.
        watch: called with how far a bundle is.
        limit: seconds that a job may take, waiting for a machine not counted; ``None`` for no limit.

    Raises:
        ValueError: there is no such cluster, or it has no room for a single task.
    """

    def __init__(
        self,
        *,
        options: RayOptions,
        cache: Cache,
        max_memory: int,
        watch: Watch | None = None,
        limit: float | None = None,
    ) -> None:
        super().__init__(workers=1, cache=cache, max_memory=max_memory, watch=watch, limit=limit)
        self._options = options
        self._started = False
        # What Ray has of the data sets of the latest bundles, by fingerprint.
        self._put: dict[str, Any] = {}
        self._connect()
        self._count = options.tasks or self._room()

    def close(self) -> None:
        """End the cluster if it was started here."""
        import ray

        self._put.clear()
        if self._started:
            self._started = False
            ray.shutdown()

    def _connect(self) -> None:
        import ray

        if ray.is_initialized():
            return
        address = self._options.address
        # A cluster of one's own has as many processors as this process may use, not as the machine has.
        own: dict[str, Any] = {} if address else {"num_cpus": processors(), "include_dashboard": False}
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
        except Exception as error:
            raise ValueError(f"--engine ray: no cluster can be had: {message_of(error)}") from error
        self._started = True

    def _room(self) -> int:
        """Return how many tasks the cluster has room for at once."""
        import ray

        has: dict[str, float] = ray.cluster_resources()
        options = self._options
        asked = {"CPU": options.cpus, "GPU": options.gpus, "memory": float(options.memory or 0)}
        room = {name: has.get(name, 0.0) / count for name, count in asked.items() if count}
        short = [f"{asked[name]:g} {name}" for name, tasks in room.items() if tasks < 1]
        if short:
            raise ValueError(
                f"--engine ray: the cluster has no room for a task with {' and '.join(short)}: it has {has}"
            )
        return max(1, int(min(room.values(), default=1.0)))

    def _begin(self, tasks: Sequence[Task]) -> None:
        import ray

        self._connect()
        options = self._options
        asked: dict[str, Any] = {"num_cpus": options.cpus, "num_gpus": options.gpus}
        if options.memory is not None:
            asked["memory"] = options.memory
        # What is repeated is for this process to say, which knows which jobs are left.
        task_on_ray = ray.remote(run_task).options(max_retries=0, num_returns="streaming", **asked)
        used = {name: dataset for task in tasks for name, dataset in task.datasets.items()}
        self._put = {name: kept for name, kept in self._put.items() if name in used}
        for name, dataset in used.items():
            if name not in self._put:
                self._put[name] = ray.put(rows_of(dataset))
        for task in tasks:
            rows = [self._put[name] for name in task.datasets]
            task.handle = task_on_ray.remote(task.assignment, list(task.datasets), *rows)

    def _hear(self, tasks: Sequence[Task]) -> Iterator[Heard]:
        import ray

        of = {task.handle: task for task in tasks}
        patience = POLL_SECONDS
        while of:
            ready, _ = ray.wait(list(of), num_returns=1, timeout=patience, fetch_local=False)
            if not ready:
                return
            for handle in ready:
                told = _next(handle)
                yield of[handle], *told
                if isinstance(told[1], Ended):
                    del of[handle]
            # What else is there already is heard, too, before anybody is thought to be silent.
            patience = 0

    def _end(self, tasks: Sequence[Task]) -> None:
        import ray

        if not ray.is_initialized():
            return
        for task in tasks:
            if task.handle is not None:
                ray.cancel(task.handle, force=True)


def _next(handle: Any) -> tuple[int, WorkerMessage | Ended]:
    """Return the next message of a task that has one."""
    import ray

    try:
        return unpack_message(ray.get(next(handle)))
    except StopIteration:
        return -1, Ended("without telling why")
    except ray.exceptions.OutOfMemoryError:
        return -1, Ended("killed because its machine ran out of memory")
    except _lost() as error:
        return -1, Ended(f"unexpectedly (Ray's {type(error).__name__})")
    except ray.exceptions.RayError as error:
        # It was never begun, or there is an error in what begins it: there is no use in trying again.
        return -1, Failed(RuntimeError(message_of(error)))


def _lost() -> tuple[type[Exception], ...]:
    """Return the errors of tasks that were lost through no fault of what they did."""
    from ray import exceptions

    return (
        *(exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.ObjectLostError),
        *(exceptions.LocalRayletDiedError, exceptions.TaskCancelledError),
    )


# The data sets of the latest task of this process.
_received = Receiver()


def run_task(assignment: Assignment, fingerprints: Sequence[str], *rows: Rows) -> Iterator[bytes]:
    """Do an assignment, in a task; yield what it tells as it comes.

    Args:
        assignment: what to do.
        fingerprints: of the data sets of its jobs.
        rows: these data sets, as :func:`~gradshape_bench.engines.transport.rows_of` took them apart.
    """
    for fingerprint, given in zip(fingerprints, rows, strict=True):
        if fingerprint not in _received.datasets:
            _received.datasets[fingerprint] = dataset_of(*given)
    outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def work() -> None:
        try:
            carry_out(
                assignment,
                _received,
                interval=_INTERVAL,
                tell=lambda place, told: outbox.put(pack_message(place, told)),
            )
        except BaseException as error:
            outbox.put(pack_message(-1, Failed(RuntimeError(message_of(error)))))
        finally:
            outbox.put(None)

    # In a thread of its own, as what it tells in the middle of a job cannot be yielded from there.
    threading.Thread(target=work, name="gradshape-task", daemon=True).start()
    while (message := outbox.get()) is not None:
        yield message
