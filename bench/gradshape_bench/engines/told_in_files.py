"""What a task tells by lines of JSON in a file: that it is begun, how far it is, and the outcome of each job.

Results are not in it, but in the cache. Nothing of it is unpickled: an error comes back as one of its kind if that is a
kind of Python's or the harness's own, and else in words.
"""

import builtins
import json
import os
import unittest
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gradshape.attacks import Crafting
from gradshape.training import Progress
from gradshape.unsuitable import Unsuitable
from gradshape_bench import blame
from gradshape_bench.engines.base import EndedByCode, Failed
from gradshape_bench.engines.faults import Crashed, TimedOut
from gradshape_bench.engines.transport import Begun, WorkerMessage
from gradshape_bench.jobs import Finished
from gradshape_bench.plain_text import message_of, plain

# Bytes that are read at once: a task tells little.
_PIECE = 1 << 20
# Those that a message alone makes, and that say no more than it.
_NOT = KeyError | UnicodeError | ExceptionGroup
_KINDS: Mapping[str, Callable[[str], Exception]] = {
    **{
        name: kind
        for name, kind in vars(builtins).items()
        if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, _NOT)
    },
    "Crashed": Crashed,
    "TimedOut": TimedOut,
    "SkipTest": unittest.SkipTest,
    "Unsuitable": Unsuitable,
}


def tell(file: Path, place: int, told: WorkerMessage) -> None:
    """Append a message to a file, so that whoever reads it on another machine sees it soon.

    Raises:
        OSError: it cannot be written.
    """
    line = json.dumps([place, _encoded(told)]).encode() + b"\n"
    # Network disks show others what was written when the file is closed.
    opened = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        while line:
            line = line[os.write(opened, line) :]
    finally:
        os.close(opened)


class Reader:
    """Reads the messages in a file as they are appended.

    Args:
        file: it need not be there yet.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read = 0
        self._rest = b""

    def messages(self) -> list[tuple[int, WorkerMessage]]:
        """Return those that have come since the last time, whole ones only. A finished job is without its result.

        Raises:
            ValueError: the file holds anything else.
        """
        try:
            with self._file.open("rb") as file:
                file.seek(self._read)
                content = file.read(_PIECE)
        except FileNotFoundError:
            return []
        self._read += len(content)
        *lines, self._rest = (self._rest + content).split(b"\n")
        try:
            return [(int(place), _decoded(told)) for place, told in map(json.loads, lines)]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{self._file}: no message of a task: {message_of(error)}") from error


def _encoded(told: WorkerMessage) -> dict[str, Any]:
    match told:
        case Begun(machine):
            return {"begun": machine}
        case Finished(_, seconds, kept):
            return {"finished": seconds, "kept": kept}
        case Failed(error):
            return {"failed": _error(error)}
        case Progress():
            return {"training": asdict(told)}
        case str(label), Crafting() as crafting:
            return {"crafting": label, **asdict(crafting)}
    raise TypeError(f"cannot tell of a {type(told).__name__}")


def _decoded(told: Mapping[str, Any]) -> WorkerMessage:
    match told:
        case {"begun": machine}:
            return Begun(str(machine))
        case {"finished": seconds, "kept": kept}:
            return Finished(None, float(seconds), kept=bool(kept))
        case {"failed": error}:
            return Failed(_raised(error))
        case {"training": progress}:
            return Progress(**progress)
        case {"crafting": label, **step}:
            return label, Crafting(**step)
    raise KeyError(f"{told!r:.100}")


def _error(error: Exception) -> dict[str, Any]:
    line, name = blame.users_line(error), type(error).__name__
    if isinstance(error, EndedByCode):
        shown = {"kind": "EndedByCode", "code": error.kind, "message": plain(str(error))}
    elif _KINDS.get(name) is type(error):
        shown = {"kind": name, "message": plain(str(error))}
    else:
        shown = {"kind": "RuntimeError", "message": message_of(error)}
    return {**shown, **({} if line is None else {"line": [line.file, line.number]})}


def _raised(told: Mapping[str, Any]) -> Exception:
    message = str(told["message"])
    kind = _KINDS.get(told["kind"], RuntimeError)
    error: Exception = EndedByCode(str(told["code"]), message) if "code" in told else kind(message)
    if "line" in told:
        file, number = told["line"]
        blame.carry_line(error, blame.Line(str(file), int(number)))
    return error
