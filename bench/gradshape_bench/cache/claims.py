"""Claims on jobs, by file locks, between the processes that use one cache.

The operating system releases the locks of a process that ends, however it ends. A process that does not end but does
nothing either (it is stopped, or its machine is cut off) is not waited for without end: whoever holds claims touches
their files again and again, and a file that has not been touched for long stands for nobody.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from gradshape_bench.cache import files
from gradshape_bench.cache.faults import Fault, Faults

# Seconds between two signs of life, seconds without one after which a claim counts no more, and seconds of waiting
# after which that is said.
_SIGN = 15.0
_SILENCE = 120.0
_QUIET = 10.0
# Bytes of a claim's file that say who holds it.
_SIGNED = 100


@dataclass(frozen=True)
class Claim:
    """The right to do some jobs, held until it is released or the process ends.

    Attributes:
        path: the file of its lock.
        lock: the lock that makes the right an exclusive one; ``None`` where there is none to be had.
    """

    path: Path
    lock: BaseFileLock | None

    def release(self) -> None:
        """Release the claim."""
        if self.lock is None:
            return
        _pulse.stop(self.path)
        # What cannot be unlocked is free when this process ends, or has given no sign of life for long.
        with suppress(OSError):
            self.lock.release()


@dataclass
class _Wait:
    """Waiting for a claim of another process: since when, and when its file was last touched, by its own clock."""

    began: float
    touched: int
    seen: float


class Claims:
    """Takes claims, each by a lock on a file of its own.

    Args:
        folder: folder of the files.
        faults: where locks are counted that cannot be had.
        tell: called with a sentence, once, when another process has been waited for.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        folder: Path,
        faults: Faults,
        tell: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._faults = faults
        self._tell = tell
        self._clock = clock
        self._waits: dict[Path, _Wait] = {}
        self._told = False

    def take(self, name: str) -> Claim | None:
        """Return the claim on what ``name`` stands for; ``None`` while another process holds it.

        The claim is granted without a lock where there is none to be had, or nobody alive to wait for.
        """
        path = self._folder / f"{name[:32]}.lock"
        # Not a marker file instead, where locks do not exist: that would stay when its process is killed.
        lock = FileLock(path, blocking=False, thread_local=False, fallback_to_soft=False)
        try:
            files.in_folder(path, lock.acquire)
        except Timeout:
            return None if self._waits_for(path) else self._without(path, "its process gives no sign of life")
        except (OSError, NotImplementedError) as error:
            return self._without(path, str(error))
        self._waits.pop(path, None)
        _sign(path)
        _pulse.start(path)
        return Claim(path, lock)

    def _without(self, path: Path, reason: str) -> Claim:
        self._waits.pop(path, None)
        self._faults.note(Fault.UNLOCKED, path.stem, f"{path}: {reason}")
        return Claim(path, None)

    def _waits_for(self, path: Path) -> bool:
        """Return whether the process that holds a lock is to be waited for, and say so once if that takes long."""
        try:
            touched = os.stat(path).st_mtime_ns
        except OSError:
            touched = 0
        now = self._clock()
        wait = self._waits.setdefault(path, _Wait(now, touched, now))
        if touched != wait.touched:
            wait.touched, wait.seen = touched, now
        if now - wait.began >= _QUIET and not self._told:
            self._told = True
            self._tell(f"waiting for jobs that {_holder(path)} does (its lock: {path})")
        return now - wait.seen < _SILENCE


def _sign(path: Path) -> None:
    """Write into the file of a lock that is held who holds it."""
    with suppress(OSError):
        file = os.open(path, os.O_WRONLY | files.CAREFULLY)
        try:
            # Always as many bytes: to cut a file off may take a disk longer than all the rest.
            os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode()[:_SIGNED].ljust(_SIGNED))
        finally:
            os.close(file)


def _holder(path: Path) -> str:
    """Return who holds a lock, as :func:`_sign` has it."""
    with suppress(OSError), files.opened(path) as (file, _):
        words = files.read(file, _SIGNED).decode(errors="replace").split()
        if words:
            return " ".join(words)
    return "another process"


class _Pulse:
    """Touches the files of this process's locks now and then, in a thread that ends when there are none."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._paths: set[Path] = set()
        self._thread: threading.Thread | None = None

    def start(self, path: Path) -> None:
        with self._guard:
            self._paths.add(path)
            # In the child of a fork the thread of its parent is not alive.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._beat, name="gradshape-claims", daemon=True)
                # Without it, others will not wait for what is claimed here: no case fails for that.
                with suppress(RuntimeError):
                    self._thread.start()

    def stop(self, path: Path) -> None:
        with self._guard:
            self._paths.discard(path)

    def _beat(self) -> None:
        while True:
            time.sleep(_SIGN)
            with self._guard:
                if not self._paths:
                    self._thread = None
                    return
                paths = list(self._paths)
            for path in paths:
                with suppress(OSError):
                    os.utime(path)


_pulse = _Pulse()
