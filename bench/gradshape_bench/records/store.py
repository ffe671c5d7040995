"""The results file: one JSON record on each line, of which the latest of a case counts."""

import errno
import logging
import math
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

from filelock import FileLock

from gradshape_bench.plain_text import plain
from gradshape_bench.records.record import Record

_log = logging.getLogger(__name__)

# Seconds to wait for another run that holds the lock, which it does for a moment only.
PATIENCE = 30.0
# Bytes of a line, at most: a record takes a few thousand.
LONGEST_LINE = 1 << 24
# Characters of what is wrong with a line that are kept.
_PROBLEM = 200
# How many lines that are left out a message names.
_NAMED = 3
# Seconds after which a file that was begun and never moved into place is nobody's any more.
_STALE = 3600.0
# Seconds between two synchronizations of a file with the disk.
_SYNCHRONIZED = 1.0
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


class Keyed(Protocol):
    """What is made of a record, which says of which case it is."""

    @property
    def key(self) -> tuple[str, str]:
        """Scale and id of the case."""
        ...


Kept = TypeVar("Kept", bound=Keyed)


@dataclass(frozen=True)
class LeftOut:
    """A line that is no record of this version; it stays in the file.

    Attributes:
        path: the file.
        number: number of the line, from 1.
        problem: what is wrong with it.
    """

    path: Path
    number: int
    problem: str

    def __str__(self) -> str:
        return f"{self.path}:{self.number} ({self.problem})"


@dataclass(frozen=True)
class Contents:
    """What a results file holds.

    Attributes:
        records: the latest of every case, sorted by scale and id.
        left_out: lines that could not be read, in the order of the file.
    """

    records: list[Record]
    left_out: list[LeftOut]


@dataclass(frozen=True)
class _Line:
    """A line of a file: its number, where it begins and how long it is; ``text`` is ``None`` if that is too long."""

    number: int
    start: int
    size: int
    text: bytes | None


class ResultsFile:
    """A file of records, which are appended one by one so that a killed run keeps every finished case.

    Whatever a line holds, it never keeps the others from being read, and it is kept as it is.

    Args:
        path: the ``.jsonl`` file; the first record creates it and its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._synchronized = -math.inf

    def append(self, record: Record, *, patience: float = PATIENCE) -> None:
        """Append one record, which a process that is killed does not lose.

        It is synchronized with the disk, too, unless that was done less than a second ago: :meth:`compact` does then.

        Args:
            record: the record.
            patience: seconds to wait for another run that writes to the file.

        Raises:
            OSError: it cannot be written; the file is as it was, unless it cannot be locked on this disk.
        """
        line = record.to_json().encode() + b"\n"
        with locked(self.path, patience=patience) as alone:
            file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                size = os.fstat(file).st_size
                # A run that was killed while writing leaves half a line: end it, lest it spoil the next one.
                if size and os.pread(file, 1, size - 1) != b"\n":
                    line = b"\n" + line
                try:
                    _write(file, line)
                    self._synchronize(file)
                except BaseException:
                    if alone:
                        with suppress(OSError):
                            os.ftruncate(file, size)
                    raise
            finally:
                os.close(file)

    def _synchronize(self, file: int) -> None:
        # It takes longer than a small case, and saves only from a machine that fails.
        if time.monotonic() - self._synchronized >= _SYNCHRONIZED:
            os.fsync(file)
            self._synchronized = time.monotonic()

    def read(self) -> Contents:
        """Return what the file holds; nothing if it is not there.

        Raises:
            OSError: it cannot be read.
        """
        return Contents(*self.latest(Record.from_json))

    def latest(self, parse: Callable[[str], Kept]) -> tuple[list[Kept], list[LeftOut]]:
        """Return what a function makes of the latest record of every case, sorted, and the lines that are left out.

        Args:
            parse: makes something of a line that is a record, and raises ``ValueError`` for any other.

        Raises:
            OSError: the file cannot be read.
        """
        return self._read(parse)[0]

    def records(self) -> list[Record]:
        """Return the latest record of every case, sorted by scale and id; log a warning if lines are left out.

        Raises:
            OSError: the file cannot be read.
        """
        contents = self.read()
        if contents.left_out:
            _log.warning("%s", described(contents.left_out))
        return contents.records

    def compact(self, *, patience: float = PATIENCE) -> Contents:
        """Rewrite the file with only the latest record of every case, keeping lines that cannot be read as they are.

        Where the file cannot be locked it is left alone, as another run may be writing to it.

        Returns:
            What the file holds then.

        Raises:
            OSError: it cannot be read or written; the file is as it was.
        """
        if not self.path.exists():
            return Contents([], [])
        with locked(self.path, patience=patience) as alone:
            found, kept, lines = self._read(Record.from_json)
            contents = Contents(*found)
            if not alone or kept == lines:
                with self.path.open("rb") as file:
                    os.fsync(file.fileno())
                return contents
            self._rewrite(kept)
            moved = [replace(line, number=number) for number, line in enumerate(contents.left_out, start=1)]
            return replace(contents, left_out=moved)

    def remove(self, keys: Collection[tuple[str, str]], *, patience: float = PATIENCE) -> int:
        """Take the records of some cases off the file, and return how many; lines that cannot be read stay as they are.

        Args:
            keys: scale and id of each case.
            patience: seconds to wait for another run that writes to the file.

        Raises:
            OSError: it cannot be read, written or locked; the file is as it was.
        """
        with locked(self.path, patience=patience) as alone:
            if not alone:
                raise OSError(errno.ENOLCK, "it cannot be locked, and another run may be writing to it", str(self.path))
            (records, left_out), kept, _ = self._read(Record.from_json)
            foreign = len(left_out)
            left = [line for record, line in zip(records, kept[foreign:], strict=True) if record.key not in keys]
            self._rewrite([*kept[:foreign], *left])
        return len(records) - len(left)

    def _rewrite(self, kept: Iterable[_Line]) -> None:
        with self.path.open("rb") as old, replacing(self.path) as new:
            for line in kept:
                old.seek(line.start)
                text = old.read(line.size)
                new.write(text if text.endswith(b"\n") else text + b"\n")

    def _read(self, parse: Callable[[str], Kept]) -> tuple[tuple[list[Kept], list[LeftOut]], list[_Line], list[_Line]]:
        """Return what the file holds, the lines that a compact file has, without their text, and all lines."""
        latest: dict[tuple[str, str], tuple[Kept, _Line]] = {}
        left_out: list[LeftOut] = []
        foreign: list[_Line] = []
        places: list[_Line] = []
        if self.path.exists():
            with self.path.open("rb") as file:
                for line in _lines(file):
                    place = _Line(line.number, line.start, line.size, None)
                    places.append(place)
                    if line.text is not None and not line.text.strip():
                        continue
                    try:
                        record = parse(_text(line.text))
                        latest[record.key] = record, place
                    except ValueError as error:
                        left_out.append(LeftOut(self.path, line.number, plain(str(error), longest=_PROBLEM)))
                        foreign.append(place)
        found = [latest[key] for key in sorted(latest)]
        return ([one for one, _ in found], left_out), [*foreign, *(place for _, place in found)], places


def described(left_out: list[LeftOut]) -> str:
    """Return one sentence on lines that are left out, which names the first of them.

    >>> described([LeftOut(Path("results.jsonl"), 3, "schema 2: this version reads schema 1")])
    '1 line is left out and kept as it is: results.jsonl:3 (schema 2: this version reads schema 1)'
    """
    count = len(left_out)
    named = "; ".join(map(str, left_out[:_NAMED]))
    more = f"; and {count - _NAMED:,} more" if count > _NAMED else ""
    verb = "line is left out and kept as it is" if count == 1 else "lines are left out and kept as they are"
    return f"{count:,} {verb}: {named}{more}"


def _text(line: bytes | None) -> str:
    if line is None:
        raise ValueError(f"not a record: more than {LONGEST_LINE:,} bytes")
    return line.decode().rstrip("\n")


def _lines(file: BinaryIO) -> Iterator[_Line]:
    number = start = 0
    while text := file.readline(LONGEST_LINE):
        number += 1
        size, piece = len(text), text
        while len(piece) == LONGEST_LINE and not piece.endswith(b"\n"):
            piece = file.readline(LONGEST_LINE)
            size += len(piece)
        yield _Line(number, start, size, text if size <= LONGEST_LINE else None)
        start += size


def _write(file: int, text: bytes) -> None:
    while text:
        text = text[os.write(file, text) :]


def lock_file(path: Path) -> Path:
    """Return the path of the lock of a results file, whichever of its names it is called by."""
    file = Path(os.path.realpath(path))
    return file.with_name(file.name + ".lock")


@contextmanager
def locked(path: Path, *, patience: float = PATIENCE) -> Iterator[bool]:
    """Hold the lock of a results file, which is that of the files beside it, too.

    Args:
        path: the results file; its folder is created.
        patience: seconds to wait for another run that holds the lock.

    Yields:
        Whether the lock is held: some network disks have none, and there nobody is kept out.

    Raises:
        OSError: the lock cannot be taken, or not in time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_file(path))
    try:
        lock.acquire(timeout=patience)
    except (NotImplementedError, Warning):
        # Where warnings are errors, so is the warning of a lock that takes the place of one that the disk lacks.
        yield False
        return
    except TimeoutError as error:
        raise TimeoutError(
            errno.ETIMEDOUT, f"another run has held it for {patience:g} seconds", lock.lock_file
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        yield False
        return
    try:
        yield True
    finally:
        with suppress(OSError):
            lock.release()


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` when the block ends, so that readers see the old content or the new.

    Raises:
        OSError: it cannot be written, or ``path`` is no regular file; the old content stays.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    _sweep(path)
    # Processes of two machines, or containers, may have one number.
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _sweep(path: Path) -> None:
    """Remove what killed runs left of files that were to take the place of ``path``."""
    with suppress(OSError):
        for left in path.parent.glob(f".{path.name}.*.tmp"):
            if time.time() - left.stat().st_mtime > _STALE:
                left.unlink(missing_ok=True)


def write_atomically(path: Path, text: Iterable[str]) -> None:
    """Write ``text`` to ``path`` so that readers see either the old content or the new.

    Raises:
        OSError: it cannot be written; the old content stays.
    """
    with replacing(path) as file:
        file.writelines(part.encode() for part in text)
