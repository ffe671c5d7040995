"""The progress line, on a terminal only."""

import os
import pty
import threading
from collections.abc import Callable, Sequence

from tests.bench.plugin.project import Project, Run


def _on_terminal(run: Callable[[str], Run]) -> str:
    """What a run shows on a terminal; ``run`` gets the terminal's name."""
    ours, theirs = pty.openpty()
    shown: list[bytes] = []

    def read() -> None:
        # A terminal whose last writer is gone gives an error instead of nothing.
        try:
            while text := os.read(ours, 4096):
                shown.append(text)
        except OSError:
            pass

    reader = threading.Thread(target=read)
    reader.start()
    try:
        run(os.ttyname(theirs))
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)
    return b"".join(shown).decode()


PROGRESS = "epoch 1/2"


def _eager(project: Project, arguments: Sequence[str], into: str, output: str | None = None) -> Run:
    return project.run("test_small.py", *arguments, into=into, output=output, EAGER="1", TERM="xterm")


def test_terminal_shows_progress(project: Project) -> None:
    assert PROGRESS in _on_terminal(lambda terminal: _eager(project, (), "terminal", terminal))


def test_quiet_terminal_shows_none(project: Project) -> None:
    assert PROGRESS not in _on_terminal(lambda terminal: _eager(project, ("-q",), "quiet", terminal))


def test_piped_output_has_neither_progress_nor_escape_codes(project: Project) -> None:
    output = _eager(project, (), "piped").output
    assert PROGRESS not in output
    assert "\x1b" not in output
