"""The results file: one JSON record on each line, of which the latest of a case counts."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

from gradshape_bench.record import OtherSchema, Record

_log = logging.getLogger(__name__)


class ResultsFile:
    """A file of records, which are appended one by one so that a killed run keeps every finished case.

    Args:
        path: the ``.jsonl`` file; the first record creates it and its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Record) -> None:
        """Append one record and flush it to disk."""
        line = record.to_json().encode() + b"\n"
        with self._lock(), self.path.open("ab+") as file:
            # A run that was killed while writing leaves half a line: end it, so that it does not spoil the next one.
            if file.tell() and _last_byte(self.path) != b"\n":
                line = b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def records(self) -> list[Record]:
        """Return the latest record of every case, sorted by scale and id; skip other lines with a warning."""
        return self._read()[0]

    def compact(self) -> None:
        """Rewrite the file with only the latest record of every case, keeping records of other schema versions."""
        if not self.path.exists():
            return
        with self._lock():
            records, foreign = self._read()
            write_atomically(self.path, (f"{line}\n" for line in (*foreign, *(r.to_json() for r in records))))

    def _read(self) -> tuple[list[Record], list[str]]:
        """Return the latest record of every case, sorted, and the lines with records of other schema versions."""
        latest: dict[tuple[str, str], Record] = {}
        foreign: list[str] = []
        if self.path.exists():
            with self.path.open(encoding="utf-8", errors="replace") as file:
                for number, line in enumerate(file, start=1):
                    if not line.strip():
                        continue
                    try:
                        record = Record.from_json(line)
                        latest[record.key] = record
                    except ValueError as error:
                        _log.warning("%s:%d is left out: %s", self.path, number, error)
                        if isinstance(error, OtherSchema):
                            foreign.append(line.rstrip("\n"))
        return [latest[key] for key in sorted(latest)], foreign

    def _lock(self) -> FileLock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self.path.with_name(self.path.name + ".lock"))


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


def write_atomically(path: Path, text: Iterable[str]) -> None:
    """Write ``text`` to ``path`` so that readers see either the old content or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
