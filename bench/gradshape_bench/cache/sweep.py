"""What is of no use in a folder of finished jobs: damaged entries, and temporary files of runs that were killed."""

import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gradshape_bench.cache import entry, files


@dataclass(frozen=True)
class Useless:
    """A file that nobody can use.

    Attributes:
        path: the file.
        size: bytes of it.
        reason: why it is of no use.
    """

    path: Path
    size: int
    reason: str


def useless(folder: Path) -> Iterator[Useless]:
    """Yield the files of a cache's folder that are of no use; every entry is read, which takes as long as that takes.

    What cannot be read now may be read another time, and is left alone.
    """
    for path in sorted(folder.glob("??/*.job")):
        with suppress(OSError, MemoryError):
            problem = _damage(path)
            if problem is not None:
                yield Useless(path, path.stat().st_size, problem)
    for path in sorted((folder / "tmp").glob("*.tmp")):
        with suppress(OSError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_mtime < time.time() - files.ABANDONED:
                yield Useless(path, status.st_size, "a run that was killed has left it")


def _damage(path: Path) -> str | None:
    with files.opened(path) as (file, size):
        head = files.read(file, entry.HEAD)
        try:
            length = entry.body_length(head)
            body = files.read(file, length) if size == entry.HEAD + length else b""
            entry.unpack(path.stem, head, body)
        except entry.Damaged as error:
            return str(error)
    return None
