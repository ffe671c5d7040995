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


def test_summary_fits_a_narrow_terminal(project: Project) -> None:
    run = project.run("test_small.py", into="narrow", COLUMNS="44")
    lines = run.output.splitlines()
    first = next(place for place, line in enumerate(lines) if " gradshape " in line)
    last = next(place for place, line in enumerate(lines) if line.startswith("results: "))
    shown = lines[first + 1 : last]
    assert any("two_moons, lr: label_flip_10" in line for line in shown)
    assert all(len(line) <= 44 for line in shown)


def test_colours_are_those_that_were_asked_for(project: Project) -> None:
    coloured = project.run("test_broken.py", "-x", "--color", "yes", into="colours").output
    assert "\x1b[31mmissed: " in coloured
    plain = project.run("test_broken.py", "-x", "--color", "no", into="colours").output
    assert "\x1b" not in plain


def test_no_color_is_heeded_on_a_terminal(project: Project) -> None:
    def run(terminal: str) -> Run:
        return project.run("test_broken.py", "-x", into="no_color", output=terminal, NO_COLOR="1", TERM="xterm")

    assert "\x1b[31m" not in _on_terminal(run)


def test_terminal_that_moves_no_cursor_shows_no_progress(project: Project) -> None:
    shown = _on_terminal(
        lambda terminal: project.run("test_small.py", into="dumb", output=terminal, EAGER="1", TERM="dumb")
    )
    assert PROGRESS not in shown
