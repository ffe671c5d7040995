"""Pytest fixtures and hooks of the speed suite."""

import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest
import torch

from gradshape_bench import matmul_precision, options
from gradshape_bench.plain_text import message_of
from gradshape_bench.speed import page
from gradshape_bench.speed.speed_session import SpeedSession, threads

_session = pytest.StashKey[SpeedSession]()


class Benchmark(Protocol):
    """The part of pytest-benchmark's fixture that the suite uses."""

    group: str | None
    extra_info: dict[str, Any]

    def pedantic(self, target: Callable[[], None], *, rounds: int, warmup_rounds: int) -> None:
        """Time ``rounds`` calls."""


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_SpeedReporter(), "gradshape-speed")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run these tests first, because the engine changes how the process keeps freed memory."""
    items.sort(key=lambda item: item.get_closest_marker("speed") is None)


@pytest.fixture(scope="session")
def speed(request: pytest.FixtureRequest) -> Iterator[SpeedSession]:
    """The measurements of this session; tests that use it are skipped where times would mean nothing."""
    config = request.config
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.skip("times beside other tests mean nothing: run `pytest suites/test_speed.py` without -n")
    if config.getoption("benchmark_disable", False) and not config.getoption("benchmark_enable", False):
        pytest.skip("--benchmark-disable: nothing is timed")
    settings = options.read(config)
    before = torch.get_num_threads()
    torch.set_num_threads(threads())
    with matmul_precision.tf32(settings.tf32):
        config.stash[_session] = session = SpeedSession(settings, config.rootpath)
        yield session
    torch.set_num_threads(before)


class _SpeedReporter:
    """Writes the page about speed at the end of the session."""

    def __init__(self) -> None:
        self._done: str | None = None

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        measured = session.config.stash.get(_session, None)
        if measured is None:
            return
        try:
            self._done = measured.write()
        except OSError as error:
            # What was measured is in the summary all the same.
            self._done = f"speed: the results are not stored: {message_of(error)}"
            if session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.INTERNAL_ERROR

    @pytest.hookimpl(tryfirst=True)
    def pytest_unconfigure(self) -> None:
        # With -n pytest-benchmark warns too late for pytest's own filters, and the skipped tests have said so.
        warnings.filterwarnings("ignore", message="Benchmarks are automatically disabled")

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        measured = config.stash.get(_session, None)
        if measured is None or self._done is None:
            return
        terminalreporter.section("speed")
        for gate, value in measured.run.judged():
            if value is not None:
                shown = page.quantity(gate, value)
                terminalreporter.write_line(f"{page.standing(gate, value)}: {gate.subject} {gate}: {shown}")
        terminalreporter.write_line(self._done)
