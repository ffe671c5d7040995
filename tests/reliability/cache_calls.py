"""The calls to the system that a cache makes: the N-th of them fails, or kills the process.

Used from other processes, too: everything here is found by its name.
"""

import errno
import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import torch

from gradshape_bench.cache import Cache
from gradshape_bench.jobs import Finished
from tests.reliability.cache_sample import MASK, POISON, TRAINED, same

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.ENOLCK)
BY_PATH = ("open", "replace", "unlink", "mkdir", "lstat", "stat", "scandir", "utime")
BY_FILE = ("read", "write", "fstat")

JOBS = {f"{number:02x}" * 32: result for number, result in enumerate((POISON, TRAINED, MASK))}


def work(cache: Cache) -> int:
    """Do the jobs that are not finished, as the scheduler does; how many those were."""
    done = 0
    for key, result in JOBS.items():
        claim = None
        for _ in range(3):
            claim = claim or cache.claim(key)
        assert claim is not None
        found = cache.get(key)
        if found is None:
            cache.put(key, Finished(result, 1.0))
            done += 1
        else:
            assert same(found.result, result)
        claim.release()
    return done


class Calls:
    """Counts the calls on files in a folder, and has the N-th one, or all from there on, end as ``happens`` says.

    Attributes:
        made: how many calls there were.
    """

    def __init__(self, folder: Path, number: int, happens: Callable[[], None], *, on: bool = False) -> None:
        self.made = 0
        self._on = on
        self._folder = str(folder)
        self._number = number
        self._happens = happens
        self._files: set[int] = set()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch all calls of the process."""
        targets: list[tuple[ModuleType, str, Callable[..., Any]]] = [
            *((os, name, self._by_path) for name in BY_PATH),
            *((os, name, self._by_file) for name in BY_FILE),
            (os, "close", self._close),
            (fcntl, "flock", self._lock),
        ]
        patches = [mock.patch.object(module, name, wrap(getattr(module, name))) for module, name, wrap in targets]
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()

    def _count(self) -> None:
        self.made += 1
        if self.made == self._number or (self._on and self.made > self._number):
            self._happens()

    def _by_path(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(path: Any, *arguments: Any, **named: Any) -> Any:
            ours = not isinstance(path, int) and os.fspath(path).startswith(self._folder)
            if ours:
                self._count()
            result = call(path, *arguments, **named)
            if ours and isinstance(result, int):
                self._files.add(result)
            return result

        return watched

    def _by_file(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(file: int, *arguments: Any) -> Any:
            if file in self._files:
                self._count()
            return call(file, *arguments)

        return watched

    def _lock(self, call: Callable[..., Any]) -> Callable[..., Any]:
        watched = self._by_file(call)

        def lock(file: int, operation: int) -> None:
            # A process that could not unlock anything any more would hold its locks until it ends.
            (call if self._on and operation == fcntl.LOCK_UN else watched)(file, operation)

        return lock

    def _close(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(file: int) -> None:
            call(file)
            # A file that cannot be closed is closed all the same.
            if file in self._files:
                self._files.discard(file)
                self._count()

        return watched


def failing(error: int) -> Callable[[], None]:
    """What a call does that fails."""

    def fail() -> None:
        raise OSError(error, os.strerror(error))

    return fail


def work_until_killed(folder: Path, number: int) -> None:
    """Work in a process that is killed at its N-th call; it exits with 0 if there are fewer."""
    torch.set_num_threads(1)
    with Calls(folder, number, lambda: os.kill(os.getpid(), signal.SIGKILL)).watched():
        work(Cache(folder))


def work_beside(folder: Path, ready: Any, counts: Any) -> None:
    """Work beside other processes, each of which begins when all are there; say how many jobs it did."""
    torch.set_num_threads(1)
    ready.wait()
    done = 0
    for turn in range(20):
        cache = Cache(folder / str(turn))
        for key, result in JOBS.items():
            while (claim := cache.claim(key)) is None:
                pass
            found = cache.get(key)
            if found is None:
                cache.put(key, Finished(result, 1.0))
                done += 1
            assert found is None or same(found.result, result)
            claim.release()
        assert cache.faults.line() is None, cache.faults.line()
    counts.put(done)


def claim_until_killed(folder: Path, ready: Any) -> None:
    """Hold a claim for ever."""
    claim = Cache(folder).claim("name")
    assert claim is not None
    ready.wait()
    signal.pause()
