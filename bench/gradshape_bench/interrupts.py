"""Interrupts (Ctrl-C): the first ends a run in order, the second ends it within seconds, whatever it is doing."""

import ctypes
import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest

# Seconds that a run has to end by itself after the second interrupt.
_WITHIN = 4.0
# What pytest exits with after an interrupt.
_STATUS = 2
_PLUGIN = "gradshape-interrupts"


class Interrupts:
    """Counts the interrupts of this process while it is installed; a plugin of pytest.

    The first raises ``KeyboardInterrupt``, as ever: running jobs end at their next step, and pytest finishes its
    reports. The second raises it again if pytest has not received the first, because the main thread waits for a job
    that does not end, or swallowed it. From then on the process has some seconds to finish; then it ends, with exit
    status 2.

    Where the main thread cannot answer at all, because native code keeps it or the interpreter's lock, the second
    interrupt ends the process at once (with glibc only: elsewhere such code has to return).

    Args:
        silent: whether nothing is written to the terminal, where another process does.
    """

    def __init__(self, *, silent: bool = False) -> None:
        self._silent = silent
        self._terminal: int | None = None
        self._before: Any = None
        self._count = 0
        self._received = False

    def install(self) -> None:
        """Begin to count, if this is the main thread and nobody else handles interrupts."""
        if threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            return
        if not self._silent and sys.__stderr__ is not None:
            with suppress(OSError, ValueError):
                # Of its own: pytest captures what the original is connected to while a test runs.
                self._terminal = os.dup(sys.__stderr__.fileno())
        self._before = signal.signal(signal.SIGINT, self._interrupted)
        _end_at_next_but_one()

    def restore(self) -> None:
        """Handle interrupts as before it was installed."""
        if self._before is not None and signal.getsignal(signal.SIGINT) == self._interrupted:
            signal.signal(signal.SIGINT, self._before)
        self._before = None
        if self._terminal is not None and self._count < 2:
            os.close(self._terminal)
            self._terminal = None

    def pytest_keyboard_interrupt(self) -> None:
        """Note that an interrupt has reached pytest, which now finishes: nothing more is to be raised."""
        self._received = True

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        # Whatever happened to the handler, the next interrupt comes here.
        signal.signal(signal.SIGINT, self._interrupted)
        if self._count == 1:
            self._say("interrupted: running jobs end at their next step; another Ctrl-C ends the run within 5 seconds")
        elif self._count == 2:
            last = threading.Timer(_WITHIN, self._end)
            last.daemon = True
            last.start()
        if not self._received:
            raise KeyboardInterrupt

    def _end(self) -> None:
        self._say("interrupted twice: the run is ended; what it had recorded is kept")
        os._exit(_STATUS)

    def _say(self, text: str) -> None:
        if self._terminal is not None:
            # Unbuffered: a handler may run in the middle of a write to a buffered file.
            with suppress(OSError):
                os.write(self._terminal, f"\ngradshape: {text}\n".encode())


def count_interrupts(config: pytest.Config) -> None:
    """Count the interrupts of a run until pytest ends, but in a debugger, where an interrupt ends a line."""
    if config.option.usepdb or config.option.trace or config.pluginmanager.has_plugin(_PLUGIN):
        return
    interrupts = Interrupts(silent=hasattr(config, "workerinput"))
    interrupts.install()
    config.pluginmanager.register(interrupts, _PLUGIN)
    config.add_cleanup(interrupts.restore)


def _end_at_next_but_one() -> None:
    """Let the second interrupt end the process if the handler of the first, which is installed, has not run till then.

    The handler of Python runs when the main thread comes back to it. The one of the system, which notes that it has to,
    is replaced by the default one when it is called, and the default one ends the process.
    """
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None)
            libc.sysv_signal.restype = ctypes.c_void_p
            libc.sysv_signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
            pythons = libc.sysv_signal(signal.SIGINT, None)
            libc.sysv_signal(signal.SIGINT, pythons)
