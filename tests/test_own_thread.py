"""Calls in threads of their own."""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import torch

from gradshape._own_thread import NobodyListens, OwnThread

PATIENCE = 300


def test_it_returns_what_the_call_returns() -> None:
    assert OwnThread[None]().run(lambda: threading.current_thread().name) != threading.current_thread().name


def test_an_error_keeps_its_traceback() -> None:
    def stumble() -> None:
        raise RuntimeError("over a stone")

    with pytest.raises(RuntimeError, match="over a stone") as caught:
        OwnThread[None]().run(stumble)
    assert "stumble" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, NobodyListens])
def test_what_is_no_exception_is_raised_as_well(kind: type[BaseException]) -> None:
    def stop() -> None:
        raise kind

    with pytest.raises(kind):
        OwnThread[None]().run(stop)


def test_messages_arrive_in_order_and_in_the_callers_thread() -> None:
    thread, heard, here = OwnThread[int](), list[tuple[int, bool]](), threading.get_ident()

    def count() -> str:
        for number in range(5):
            thread.tell(number)
        return "done"

    assert thread.run(count, hear=lambda n: heard.append((n, threading.get_ident() == here))) == "done"
    assert heard == [(number, True) for number in range(5)]


def endless(thread: OwnThread[int], ended: threading.Event, began: threading.Event | None = None) -> None:
    try:
        for number in range(sys.maxsize):
            thread.tell(number)
            if began is not None:
                began.set()
            time.sleep(0.001)
    finally:
        ended.set()


def test_who_does_not_want_to_hear_more_ends_the_call() -> None:
    thread, ended = OwnThread[int](), threading.Event()

    def hear(number: int) -> None:
        if number == 3:
            raise TimeoutError("enough")

    with pytest.raises(TimeoutError, match="enough"):
        thread.run(lambda: endless(thread, ended), hear=hear)
    assert ended.wait(PATIENCE)


@contextmanager
def interrupted(began: threading.Event) -> Iterator[None]:
    """Interrupt the caller once that is set, which must raise before the end."""

    def interrupt() -> None:
        began.wait(PATIENCE)
        os.kill(os.getpid(), signal.SIGINT)

    # Whoever starts a process in the background may have it ignore interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    other = threading.Thread(target=interrupt)
    other.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        other.join()
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_is_raised_at_once_and_ends_the_call() -> None:
    thread, ended, began = OwnThread[int](), threading.Event(), threading.Event()
    with interrupted(began):
        thread.run(lambda: endless(thread, ended, began))
    assert ended.wait(PATIENCE)


def test_a_call_that_tells_nothing_is_left_behind() -> None:
    free, began, ended = threading.Event(), threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        free.wait(PATIENCE)
        ended.set()

    try:
        with interrupted(began):
            OwnThread[None]().run(wait)
        assert not ended.is_set()
    finally:
        free.set()


def test_it_computes_with_as_many_threads_as_its_caller() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert OwnThread[None]().run(torch.get_num_threads) == 3
        OwnThread[None]().run(lambda: torch.set_num_threads(2))
        assert torch.get_num_threads() == 3
        # New threads begin with the number that was set last, in whichever thread.
        assert OwnThread[None]().run(torch.get_num_threads) == 3
    finally:
        torch.set_num_threads(before)


def test_it_records_gradients_if_its_caller_does() -> None:
    assert OwnThread[None]().run(torch.is_grad_enabled)
    with torch.no_grad():
        assert not OwnThread[None]().run(torch.is_grad_enabled)
        OwnThread[None]().run(lambda: torch.set_grad_enabled(True))
        assert not torch.is_grad_enabled()


def test_autocast_is_left_outside() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not OwnThread[None]().run(lambda: torch.is_autocast_enabled("cpu"))


def test_an_error_keeps_nothing_alive_for_long() -> None:
    thread = OwnThread[None]()

    def stumble() -> None:
        raise RuntimeError

    with suppress(RuntimeError):
        thread.run(stumble)
    assert sys.getrefcount(thread) == 2
