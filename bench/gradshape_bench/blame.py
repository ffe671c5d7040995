"""The lines of the user's code that an error came through, without those of the harness around them."""

import os
import sysconfig
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType

import gradshape

_HARNESS = str(Path(__file__).parent) + os.sep
_LIBRARY = str(Path(gradshape.__file__).parent) + os.sep
_STANDARD = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib")})
_PACKAGES = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))
# How many lines of libraries are shown of an error that came through none of the user's.
_SHOWN = 3
# Where an error keeps its lines when it is sent from one process to another, since a traceback cannot be sent.
_CARRIED = "gradshape_lines"


@dataclass(frozen=True)
class Line:
    """A line of the user's code."""

    file: str
    number: int


def users_line(error: BaseException) -> Line | None:
    """Return the innermost line of the user's code that ``error`` came through; ``None`` if there is none."""
    carried = getattr(error, _CARRIED, None)
    if isinstance(carried, Line):
        return carried
    users = [entry for entry in _entries(error.__traceback__) if _is_users(_file(entry))]
    return Line(_file(users[-1]), users[-1].tb_lineno) if users else None


def carry(error: BaseException) -> None:
    """Note the user's line in ``error`` itself, so that it is still known where the traceback is not."""
    line = users_line(error)
    if line is not None:
        carry_line(error, line)


def carry_line(error: BaseException, line: Line) -> None:
    """Note a user's line that an error came through elsewhere."""
    # Whoever forbids attributes is not told apart from whoever comes without lines.
    with suppress(Exception):
        setattr(error, _CARRIED, line)


def where(error: BaseException, root: Path) -> str:
    """Return ``file:line: `` of the user's line, below ``root`` if it is there; empty if there is none.

    Elsewhere the file's name stands alone, as what is recorded on two machines should be the same.
    """
    line = users_line(error)
    if line is None:
        return ""
    path = Path(line.file)
    shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    return f"{shown}:{line.number}: "


def users_part(error: BaseException) -> TracebackType | None:
    """Return the traceback of ``error`` with the user's lines only; if there are none, with the last few of libraries.

    It shares its frames with the whole traceback, so that a debugger can look at them.
    """
    entries = _entries(error.__traceback__)
    chosen = [entry for entry in entries if _is_users(_file(entry))]
    if not chosen:
        chosen = [entry for entry in entries if not _file(entry).startswith(_HARNESS)][-_SHOWN:]
    part: TracebackType | None = None
    for entry in reversed(chosen):
        part = TracebackType(part, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return part


def _entries(traceback: TracebackType | None) -> list[TracebackType]:
    found = []
    while traceback is not None:
        found.append(traceback)
        traceback = traceback.tb_next
    return found


def _file(entry: TracebackType) -> str:
    return entry.tb_frame.f_code.co_filename


@cache
def _is_users(file: str) -> bool:
    ours = file.startswith((_HARNESS, _LIBRARY))
    return not (ours or file.startswith((*_STANDARD, "<frozen ")) or any(part in file for part in _PACKAGES))
