"""The folder of finished jobs, one file a job."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from gradshape_bench.cache import entry, files
from gradshape_bench.cache.claims import Claim, Claims
from gradshape_bench.cache.faults import Fault, Faults
from gradshape_bench.jobs import Finished


def _silent(sentence: str) -> None:
    """Tell nobody."""


class Cache:
    """A folder of finished jobs, for one thread of each of the processes that use it.

    An entry is believed if every byte of it is what was written for this very job; else the job is done again. Files
    are written under another name and moved into place, so that a killed run leaves no part of an entry. Whatever goes
    wrong with files is counted in :attr:`faults`, and nothing is raised.

    Args:
        folder: created when the first job is stored.
        tell: called with a sentence, once, when another process has been waited for.

    Attributes:
        faults: what went wrong so far.
    """

    def __init__(self, folder: Path, *, tell: Callable[[str], None] = _silent) -> None:
        self.folder = folder
        self.faults = Faults()
        self._claims = Claims(folder / "locks", self.faults, tell)
        self._swept = False

    def get(self, key: str) -> Finished[Any] | None:
        """Return the finished job with that key; ``None`` if it is not stored, damaged or cannot be read."""
        path = self._path(key)
        try:
            with files.opened(path) as (file, size):
                head = files.read(file, entry.HEAD)
                length = entry.body_length(head)
                # An entry of the wrong length, however long, is not read.
                body = files.read(file, length) if size == entry.HEAD + length else b""
            return replace(entry.unpack(key, head, body), kept=True)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except entry.Damaged as error:
            self.faults.note(Fault.DAMAGED, key, f"{path}: {error}")
        except (OSError, MemoryError) as error:
            self.faults.note(Fault.UNREADABLE, key, f"{path}: {_said(error)}")
        return None

    def holds(self, key: str) -> bool:
        """Return whether there is an entry with that key, which may be damaged."""
        return os.path.lexists(self._path(key))

    def put(self, key: str, finished: Finished[Any]) -> bool:
        """Store a finished job, if that can be done; return whether it is stored."""
        path = self._path(key)
        # The name is of its own whatever machines write here, and whichever numbers their processes have.
        temporary = self.folder / "tmp" / f"{key[:16]}-{os.urandom(8).hex()}.tmp"
        try:
            files.write(path, entry.pack(key, finished), temporary=temporary)
            stored = True
        except Exception as error:
            # A result of a kind that nobody thought of must not cost the case that has it.
            self.faults.note(Fault.UNKEPT, key, f"{path}: {_said(error)}")
            stored = False
        if not self._swept:
            self._swept = True
            files.sweep(temporary.parent, now=_time_of(path))
        return stored

    def claim(self, name: str) -> Claim | None:
        """Claim the jobs that ``name`` stands for against other processes; ``None`` while another one holds the claim.

        Where no lock is to be had (the disk is read-only, or has no locks), the claim is granted all the same: the jobs
        may be done twice. So it is where the process that holds it has given no sign of life for two minutes.
        """
        return self._claims.take(name)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.job"


def _time_of(written: Path) -> float:
    """Return the time by the clock that dates the cache's files, from one just ``written``."""
    with suppress(OSError):
        return os.lstat(written).st_mtime
    return time.time()


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
