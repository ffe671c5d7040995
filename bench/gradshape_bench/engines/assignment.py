"""What a task on another machine is told, and how it does it."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gradshape_bench.cache import Cache
from gradshape_bench.engines.allocator import keep_freed_memory
from gradshape_bench.engines.answer import Tell, answer
from gradshape_bench.engines.base import Bundle, Failed
from gradshape_bench.engines.transport import Begun, Receiver, WorkerMessage
from gradshape_bench.engines.work import one_thread
from gradshape_bench.job_names.code_digest import library_source
from gradshape_bench.jobs import Finished
from gradshape_bench.matmul_precision import restore_tf32
from gradshape_bench.processor import machine


@dataclass(frozen=True)
class Assignment:
    """A bundle for a task, beside what has to be known before anything of it can be read.

    Attributes:
        packed: the bundle, as :func:`~gradshape_bench.engines.transport.pack_jobs` packed it.
        keys: names of its jobs.
        folders: the cache that each finished job is put into; ``None`` for none.
        path: where the process that made it imports from.
        source: hash of its library's source.
        max_memory: bytes that a stack may take, approximately.
    """

    packed: bytes
    keys: Sequence[str]
    folders: Sequence[str | None]
    path: Sequence[str]
    source: str
    max_memory: int

    @classmethod
    def of(cls, packed: bytes, jobs: Bundle, *, cache: Path, unnamed: Path | None, max_memory: int) -> "Assignment":
        """Return the assignment of jobs that are packed already.

        Args:
            packed: the jobs, packed.
            jobs: the jobs.
            cache: the cache's folder, for those whose results may be kept for other sessions.
            unnamed: a folder of this run for all others.
            max_memory: bytes that a stack may take, approximately.
        """
        rest = None if unnamed is None else str(unnamed)
        return cls(
            packed,
            keys=[job.key for job in jobs],
            folders=[str(cache) if job.repeatable else rest for job in jobs],
            path=[str(Path(entry).absolute()) for entry in sys.path],
            source=library_source(),
            max_memory=max_memory,
        )


def carry_out(assignment: Assignment, receiver: Receiver, *, interval: float, tell: Tell) -> None:
    """Do the jobs of an assignment that are not in its caches yet, on one thread, and put each there as it ends.

    Args:
        assignment: what to do.
        receiver: has the data sets of the jobs.
        interval: seconds between two messages on how far the bundle is, at least.
        tell: takes the messages: that it is begun, how far it is, and the outcome of each job.
    """
    tell(-1, Begun(machine()))
    try:
        if assignment.source != library_source():
            raise RuntimeError(
                f"the machine that was to do this has another version of gradshape: its source is "
                f"{library_source()[:12]}, expected {assignment.source[:12]}: install the same everywhere"
            )
        sys.path.extend(entry for entry in assignment.path if entry not in sys.path)
        settings, bundle = receiver.unpack(assignment.packed)
    except Exception as error:
        tell(-1, Failed(error))
        return
    restore_tf32(settings)
    keep_freed_memory()
    caches = {folder: Cache(Path(folder)) for folder in assignment.folders if folder is not None}
    keep = _Keeper(assignment, caches, tell)
    left = {place: job for place, job in enumerate(bundle) if not keep.known(place)}
    with one_thread():
        answer(left, max_memory=assignment.max_memory, interval=interval, tell=keep)


class _Keeper:
    """Puts finished jobs into their caches before it tells of them."""

    def __init__(self, assignment: Assignment, caches: Mapping[str, Cache], tell: Tell) -> None:
        self._keys = assignment.keys
        self._caches = [None if folder is None else caches[folder] for folder in assignment.folders]
        self._tell = tell

    def known(self, place: int) -> bool:
        """Tell the outcome of a job that is in its cache already, such as one of a task before this one."""
        cache = self._caches[place]
        found = None if cache is None else cache.get(self._keys[place])
        if found is not None:
            self._tell(place, found)
        return found is not None

    def __call__(self, place: int, told: WorkerMessage) -> None:
        if isinstance(told, Finished):
            cache = self._caches[place]
            told = replace(told, kept=cache is not None and cache.put(self._keys[place], told))
        self._tell(place, told)
