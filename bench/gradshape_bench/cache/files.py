"""Reading and writing the cache's files: regular files only, whole or not at all."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

# Flags for opening: a link is not followed, and a pipe does not make one wait.
CAREFULLY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
# Seconds without a write after which a temporary file is that of a killed run. Should its writer live after all, then
# the entry is not kept, and that is all.
ABANDONED = 3600.0
# Bytes read at once; some systems read no more.
_PIECE = 1 << 30

T = TypeVar("T")


@contextmanager
def opened(path: Path) -> Iterator[tuple[int, int]]:
    """Open a regular file for reading, without ever waiting for anybody; yield its descriptor and its size.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    # Looked at first, too: opening a device may be enough to do something.
    _check_regular(os.lstat(path), path)
    file = os.open(path, os.O_RDONLY | CAREFULLY)
    try:
        status = os.fstat(file)
        _check_regular(status, path)
        yield file, status.st_size
    finally:
        os.close(file)


def read(file: int, size: int) -> bytes:
    """Return the next ``size`` bytes of a file, or as many as there are.

    Raises:
        OSError: they cannot be read.
    """
    content = os.read(file, min(size, _PIECE))
    while len(content) < size and (more := os.read(file, min(size - len(content), _PIECE))):
        content += more
    return content


def write(path: Path, content: bytes | bytearray, *, temporary: Path) -> None:
    """Write a file so that readers see nothing of it, or all; the folders are made if need be.

    It is not synchronised with the disk, which would take longer than most jobs: after a power cut the file may be
    damaged, so it must be one that shows that.

    Args:
        path: the file.
        content: what it is to hold.
        temporary: where it is written before it is moved into place, on the same disk; nobody else may use that path.

    Raises:
        OSError: it cannot be written. Nothing is left of it then, if that can be removed.
    """
    file = in_folder(temporary, lambda: os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | CAREFULLY, 0o666))
    try:
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(file, rest[:_PIECE]) :]
        finally:
            os.close(file)
        in_folder(path, lambda: os.replace(temporary, path))
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def in_folder(path: Path, act: Callable[[], T]) -> T:
    """Return what ``act`` returns; make the folder of ``path`` and try again if that is missing.

    Raises:
        OSError: whatever keeps the folder from being made, or ``act`` from being done in it.
    """
    try:
        return act()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return act()


def sweep(folder: Path, *, now: float) -> None:
    """Remove the temporary files that killed runs have left, on this machine or on others.

    Args:
        folder: the folder of temporary files.
        now: the time by the clock that dates its files, which may be a server's.
    """
    with suppress(OSError), os.scandir(folder) as found:
        for file in found:
            with suppress(OSError):
                status = file.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and status.st_mtime < now - ABANDONED:
                    os.unlink(file.path)


def _check_regular(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
