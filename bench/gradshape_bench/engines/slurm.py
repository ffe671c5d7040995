"""An engine on submitit: bundles are array jobs of Slurm, on machines that share a disk."""

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gradshape.data import Dataset
from gradshape_bench.cache import Cache
from gradshape_bench.engines.assignment import Assignment, carry_out
from gradshape_bench.engines.base import POLL_SECONDS, Failed, JobOutcome, Watch
from gradshape_bench.engines.remote import Ended, Heard, RemoteEngine, Task
from gradshape_bench.engines.slurm_options import Cluster, SlurmOptions
from gradshape_bench.engines.told_in_files import Reader, tell
from gradshape_bench.engines.transport import Receiver, dataset_of, rows_of
from gradshape_bench.jobs import AnyJob, Finished
from gradshape_bench.plain_text import plain

# Seconds between two messages on how far a bundle is.
_INTERVAL = 2.0
# Seconds between two looks at what tasks told, on a disk that many machines share.
_LOOK = 1.0
# Seconds that what a task wrote last may take to be seen on a shared disk after the task is known to have ended.
_DISK = 30.0
# Seconds that a process on this machine has to end.
_GRACE = 60.0
_SHOWN = 300


@dataclass(eq=False)
class _Handle:
    """What a task is known by.

    Attributes:
        file: where it tells of its jobs.
        job: submitit's.
        done: since when it is known to have ended; ``None`` before that.
    """

    file: Path
    reader: Reader
    job: Any = None
    done: float | None = None


class SlurmEngine(RemoteEngine):
    """Runs bundles as tasks of Slurm, those that are ready together as one array, or as processes of this machine.

    The tasks put finished jobs into the cache, which has to be on a disk that all machines share, and tell of them by
    lines of JSON; the results are read from the cache. submitit itself pickles what a task is told, into a folder of
    this run beside the cache that nobody but the user can open, and unpickles it in the task; nothing that comes back
    is unpickled. If this process is killed, its tasks go on.

    A bundle is told how far it is every two seconds at most. An interrupt cancels the tasks.

    Args:
        options: what submitit is told.
        cache: where the tasks put finished jobs.
        folder: folder for what a run needs, on the same disk.
        max_memory: bytes that the stack of one task may take, approximately.
        watch: called with how far a bundle is.
        limit: seconds that a job may take, waiting for a machine not counted; ``None`` for no limit.

    Raises:
        ValueError: submitit does not take the options here.
    """

    def __init__(
        self,
        *,
        options: SlurmOptions,
        cache: Cache,
        folder: Path,
        max_memory: int,
        watch: Watch | None = None,
        limit: float | None = None,
    ) -> None:
        super().__init__(workers=options.tasks, cache=cache, max_memory=max_memory, watch=watch, limit=limit)
        self._options = options
        self._folder = folder
        self._shared = options.cluster is Cluster.SLURM
        self._own: _Folder | None = None
        options.check()

    def close(self) -> None:
        """Remove the folder of the run, once its processes have ended, if they are of this machine."""
        if self._own is not None:
            _wait(self._own.here)
            shutil.rmtree(self._own.path, ignore_errors=True)
            self._own = None

    def _run_folder(self) -> "_Folder":
        if self._own is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            # Nobody else can open it.
            self._own = _Folder(Path(tempfile.mkdtemp(prefix="run-", dir=self._folder)), self._options)
        return self._own

    def _unnamed(self) -> Path:
        return self._run_folder().path / "unnamed"

    def _begin(self, tasks: Sequence[Task]) -> None:
        own = self._run_folder()
        for task in tasks:
            file = own.path / f"told-{os.urandom(8).hex()}.jsonl"
            task.handle = _Handle(file, Reader(file))
        orders = [
            (task.assignment, [own.data(dataset) for dataset in task.datasets.values()], task.handle.file)
            for task in tasks
        ]
        for task, job in zip(tasks, own.submit(orders), strict=True):
            task.handle.job = job

    def _hear(self, tasks: Sequence[Task]) -> Iterator[Heard]:
        time.sleep(_LOOK if self._shared else POLL_SECONDS / 4)
        for task in list(tasks):
            handle: _Handle = task.handle
            # Asked first: what it told before it ended is read after that.
            ended = _has_ended(handle.job)
            yield from ((task, place, told) for place, told in handle.reader.messages())
            if not ended:
                continue
            if handle.done is None:
                handle.done = time.monotonic()
            if not task.left or not self._shared or time.monotonic() - handle.done > _DISK:
                yield task, -1, Ended(_how(handle.job, slurm=self._shared))

    def _outcome(self, job: AnyJob, told: Finished[Any]) -> JobOutcome:
        cache = self._cache if job.repeatable else Cache(self._unnamed())
        found = cache.get(job.key) if told.kept else None
        if found is None:
            return Failed(OSError(f"the result of {job.description} is not in {cache.folder}, where its task puts it"))
        return replace(found, kept=job.repeatable)

    def _end(self, tasks: Sequence[Task]) -> None:
        jobs = [task.handle.job for task in tasks if task.handle is not None and task.handle.job is not None]
        for job in jobs:
            job.cancel(check=False)
        if self._options.cluster is Cluster.LOCAL:
            _wait(jobs)


def _wait(jobs: Sequence[Any]) -> None:
    """Wait for a while until the processes of tasks on this machine have ended."""
    patience = time.monotonic() + _GRACE
    while time.monotonic() < patience and not all(map(_has_ended, jobs)):
        time.sleep(POLL_SECONDS / 4)


def _has_ended(job: Any) -> bool:
    return bool(job.done())


def _how(job: Any, *, slurm: bool) -> str:
    """Return in words how a task ended that left jobs undone."""
    state = str(job.state)
    if "OUT_OF_ME" in state:
        return "killed because its memory ran out (Slurm's state OUT_OF_MEMORY): ask for more by --slurm mem_gb=N"
    if "TIMEOUT" in state:
        return "at the end of its time (Slurm's state TIMEOUT): ask for more by --slurm timeout_min=N"
    last = ((job.stderr() or "").strip().splitlines() or [""])[-1]
    said = f": {plain(last, longest=_SHOWN)}" if last else ""
    return f"in Slurm's state {state}{said}" if slurm else f"without telling why{said}"


class _Folder:
    """The folder of a run, which its tasks and this process share."""

    def __init__(self, path: Path, options: SlurmOptions) -> None:
        self.path = path
        self._options = options
        self._executor = options.executor(path / "submitit")
        # Those of this machine that may not have ended: what a task told last is not its end.
        self.here: list[Any] = []

    def data(self, dataset: Dataset) -> Path:
        """Return the file of a data set; it is written once."""
        path = self.path / f"{dataset.fingerprint}.npz"
        if not path.exists():
            described, rows = rows_of(dataset)
            unfinished = path.with_suffix(".tmp")
            with unfinished.open("wb") as file:
                arrays: dict[str, Any] = {"described": np.frombuffer(json.dumps(described).encode(), np.uint8), **rows}
                np.savez(file, **arrays)
            unfinished.replace(path)
        return path

    def submit(self, orders: Sequence[tuple[Assignment, Sequence[Path], Path]]) -> Sequence[Any]:
        """Submit tasks, several as one array."""
        several = len(orders) > 1
        with self._executor.batch() if several else contextlib.nullcontext():
            jobs = [self._executor.submit(run_task, *order) for order in orders]
        if self._options.cluster is Cluster.LOCAL:
            self.here = [job for job in self.here if not _has_ended(job)] + jobs
        return jobs


def run_task(assignment: Assignment, data: Sequence[Path], file: Path) -> None:
    """Do an assignment, in a task.

    Args:
        assignment: what to do.
        data: files of the data sets of its jobs.
        file: where to tell of them.
    """
    receiver = Receiver()
    for path in data:
        with np.load(path, allow_pickle=False) as found:
            described = json.loads(found["described"].tobytes())
            receiver.datasets[described["fingerprint"]] = dataset_of(described, found)
    carry_out(assignment, receiver, interval=_INTERVAL, tell=lambda place, told: tell(file, place, told))
