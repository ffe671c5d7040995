"""What every process is running, in files that stay behind if a process dies."""

import json
import os
import re
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Remains:
    """What a process was running when it died.

    Attributes:
        case: id of the case that was asked for; ``None`` if none was.
        jobs: what its jobs were asked for, one phrase a bundle.
    """

    case: str | None
    jobs: tuple[str, ...]

    def __str__(self) -> str:
        return "; ".join(([self.case] if self.case is not None else []) + list(self.jobs))


class Running:
    """A folder beside the results file, with a file for each process that is running jobs.

    A process that ends, even by an error, removes its file. One that is killed, or that a job ends (a fault in native
    code, ``os._exit``), leaves it, and whoever looks next can say what that process was at. The file is not
    synchronized to the disk: it has to outlive the process, not the machine. Of processes on other machines that share
    the folder nothing is said, as they may be alive.

    Args:
        results: the results file.
    """

    def __init__(self, results: Path) -> None:
        self.folder = results.with_name(f"{results.stem}.running")
        self._own: tuple[Path, int] | None = None

    def note(self, case: str | None, jobs: Sequence[str]) -> None:
        """Note what this process is running, in some microseconds. Where nothing can be written, nothing is noted."""
        with suppress(OSError):
            if self._own is None:
                if not jobs:
                    return
                self.folder.mkdir(parents=True, exist_ok=True)
                path = self.folder / f"{_machine()}-{os.getpid()}.json"
                self._own = path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            text = json.dumps({"case": case, "jobs": list(jobs)}).encode() if jobs else b""
            file = self._own[1]
            os.lseek(file, 0, os.SEEK_SET)
            os.write(file, text)
            os.ftruncate(file, len(text))

    def close(self) -> None:
        """Remove the file of this process."""
        if self._own is not None:
            path, file = self._own
            self._own = None
            with suppress(OSError):
                os.close(file)
                path.unlink(missing_ok=True)
                self.folder.rmdir()

    def collect(self, case: str | None = None) -> list[Remains]:
        """Return what processes that died were running, and remove their files.

        Args:
            case: id of a case whose process is known to have died; ``None`` for all processes that are gone.
        """
        found = []
        for path in sorted(self.folder.glob(f"{_machine()}-*.json")):
            remains = _read(path)
            if _alive(path.stem.rpartition("-")[2]) if case is None else remains is None or remains.case != case:
                continue
            if remains is not None:
                found.append(remains)
            with suppress(OSError):
                path.unlink()
        with suppress(OSError):
            self.folder.rmdir()
        return found


def _machine() -> str:
    """Return this machine's name, as far as it may stand in the name of a file."""
    return re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())


def _read(path: Path) -> Remains | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return Remains(document["case"], tuple(map(str, document["jobs"])))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _alive(pid: str) -> bool:
    """Return whether there is such a process, or that cannot be told."""
    if sys.platform == "win32" or not pid.isdecimal():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
