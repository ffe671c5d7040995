"""What is shown while a test runs: the progress line of a long computation, and sentences."""

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress

import pytest
from _pytest.capture import CaptureManager
from _pytest.terminal import TerminalReporter

from gradshape.attacks import Crafting
from gradshape.training import Progress
from gradshape_bench.jobs import JobProgress
from gradshape_bench.report.terminal import WIDTH, columns, terminal_width

_QUIET_SECONDS = 2.0
_INTERVAL = 0.25


class ProgressLine:
    """A line below pytest's own output, on a terminal only; it disappears when the work is done.

    Args:
        write: writes text to the terminal unchanged.
        column: returns the column in which pytest will go on writing.
        width: returns the number of columns of the terminal, which may change.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        column: Callable[[], int],
        *,
        width: Callable[[], int] = lambda: WIDTH,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._column = column
        self._width = width
        self._clock = clock
        self._guard = threading.Lock()
        self._bundles: dict[object, Progress] = {}
        self._crafting: tuple[str, Crafting] | None = None
        self._began: float | None = None
        self._written = 0.0
        self._shown = False

    def update(self, bundle: object, progress: JobProgress) -> None:
        """Note how far a bundle is, and show it now and then; may be called from any thread."""
        with self._guard:
            now = self._clock()
            if self._began is None:
                self._began = self._written = now
            if isinstance(progress, Progress):
                self._bundles[bundle] = progress
                self._crafting = None
            else:
                self._crafting = progress
            if now - self._began > _QUIET_SECONDS and now - self._written > _INTERVAL:
                self._written = now
                self._show(self._texts(now - self._began))

    def clear(self) -> None:
        """Remove the line when the work is done."""
        with self._guard:
            if self._shown:
                self._show([])
            self._bundles.clear()
            self._crafting = None
            self._began, self._shown = None, False

    def _texts(self, elapsed: float) -> list[str]:
        """Return what there is to say, at length and ever shorter."""
        if self._crafting is not None:
            label, crafting = self._crafting
            step = f"step {crafting.step}/{crafting.steps}"
            return [f"crafting {label}: {step}, objective {crafting.objective:.4g}", f"crafting {label}: {step}", step]
        running = [p for p in self._bundles.values() if p.work_done < p.work]
        latest = running[-1] if running else list(self._bundles.values())[-1]
        done = sum(p.work_done for p in self._bundles.values())
        work = sum(p.work for p in self._bundles.values())
        victims = sum(p.victims for p in running)
        left = _duration(elapsed * (work - done) / max(done, 1))
        epoch = f"epoch {latest.epoch}/{latest.epochs}"
        return [
            f"training {victims} {latest.model} victims: {epoch}, about {left} left",
            f"training {victims} victims: {epoch}, about {left} left",
            f"{epoch}, {left} left",
            epoch,
        ]

    def _show(self, texts: Sequence[str]) -> None:
        # The last column stays free: some terminals go on to the next line once it is written to.
        width = max(1, self._width())
        text = next((text for text in texts if columns(text) < width), "")
        # Move one line down, write, and move back to where pytest goes on writing.
        self._write(f"\n\x1b[2K{text}\x1b[A\x1b[{self._column() % width + 1}G")
        self._shown = True


def _duration(seconds: float) -> str:
    """Return a time as people say it.

    >>> _duration(9.4), _duration(130), _duration(5400)
    ('9 s', '2 min', '1.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def progress_line(config: pytest.Config) -> ProgressLine | None:
    """Return the line for this session; ``None`` without a terminal that can move its cursor, with ``-q`` and in worker
    processes.
    """
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not isinstance(reporter, TerminalReporter) or hasattr(config, "workerinput"):
        return None
    if not reporter.isatty or config.get_verbosity() < 0 or os.environ.get("TERM") == "dumb":
        return None

    def write(text: str) -> None:
        with _shown(config):
            reporter._tw._file.write(text)
            reporter._tw._file.flush()

    return ProgressLine(write, lambda: reporter._tw.width_of_current_line, width=terminal_width)


def say(config: pytest.Config, sentence: str) -> None:
    """Show the user a sentence at once, on a line of its own, though a test runs; worker processes may do so, too."""
    with suppress(OSError), _shown(config):
        print(f"\ngradshape: {sentence}", file=sys.stderr, flush=True)


def _shown(config: pytest.Config) -> AbstractContextManager[None]:
    """Let what is written appear, instead of being captured."""
    capture = config.pluginmanager.get_plugin("capturemanager")
    return capture.global_and_fixture_disabled() if isinstance(capture, CaptureManager) else nullcontext()
