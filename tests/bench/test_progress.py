import io
import re
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from _pytest.terminal import TerminalReporter

from gradshape.training import Progress
from gradshape_bench.progress import ProgressLine, progress_line


class Screen:
    """A terminal and a clock that stand still unless they are moved."""

    def __init__(self, column: int = 7, width: int = 80) -> None:
        self.now = 100.0
        self.written: list[str] = []
        self.line = ProgressLine(self.written.append, lambda: column, width=lambda: width, clock=lambda: self.now)

    def tell(self, after: float = 0.0, *, bundle: object = "one", **changes: Any) -> None:
        self.now += after
        state: dict[str, Any] = {"epoch": 10, "epochs": 40, "victims": 12, "model": "lr", "work_done": 120, "work": 480}
        self.line.update(bundle, Progress(**state | changes))


@pytest.fixture
def screen() -> Screen:
    return Screen()


def test_short_work_shows_nothing(screen: Screen) -> None:
    for _ in range(10):
        screen.tell(0.15)
    screen.line.clear()
    assert screen.written == []


def test_long_work_shows_victims_and_epochs_and_time_left(screen: Screen) -> None:
    screen.tell(work_done=0)
    screen.tell(3.0)
    assert len(screen.written) == 1
    # A quarter took 3 seconds.
    assert "training 12 lr victims: epoch 10/40, about 9 s left" in screen.written[0]


def test_line_stands_below_and_the_cursor_returns(screen: Screen) -> None:
    screen.tell()
    screen.tell(3.0)
    assert re.fullmatch(r"\n\x1b\[2K[^\n\x1b]+\x1b\[A\x1b\[8G", screen.written[0])


def test_line_is_written_a_few_times_a_second(screen: Screen) -> None:
    screen.tell()
    screen.tell(3.0)
    for _ in range(100):
        screen.tell(0.01)
    assert 3 <= len(screen.written) <= 5


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (80, "training 12 lr victims: epoch 10/40, about 9 s left"),
        (50, "training 12 victims: epoch 10/40, about 9 s left"),
        (30, "epoch 10/40, 9 s left"),
        (15, "epoch 10/40"),
        (5, ""),
    ],
)
def test_line_says_what_the_terminal_has_room_for(width: int, shown: str) -> None:
    screen = Screen(width=width)
    screen.tell(work_done=0)
    screen.tell(3.0)
    assert re.findall(r"\x1b\[2K([^\x1b]*)", screen.written[0]) == [shown]


def test_long_names_are_left_out(screen: Screen) -> None:
    screen.tell(model="m" * 200, work_done=0)
    screen.tell(3.0, model="m" * 200)
    assert "training 12 victims: epoch 10/40, about 9 s left" in screen.written[0]


def test_cursor_returns_to_its_column_in_a_line_that_is_wrapped() -> None:
    screen = Screen(column=47, width=40)
    screen.tell()
    screen.tell(3.0)
    assert screen.written[0].endswith("\x1b[A\x1b[8G")


def test_a_time_of_hours_is_no_number_of_seconds(screen: Screen) -> None:
    screen.tell(work_done=0)
    screen.tell(7200.0, work_done=240)
    assert "about 2.0 h left" in screen.written[0]


def test_victims_of_all_running_bundles_count(screen: Screen) -> None:
    screen.tell(bundle="one", work_done=0)
    screen.tell(3.0, bundle="two", victims=5)
    assert "training 17 lr" in screen.written[-1]


def test_finished_bundle_counts_as_work_but_not_as_victims(screen: Screen) -> None:
    screen.tell(bundle="two", victims=5, epoch=3, work_done=0)
    screen.tell(4.0, bundle="one", epoch=40, work_done=480)
    assert "training 5 lr victims: epoch 3/40" in screen.written[-1]
    assert "about 4 s left" in screen.written[-1]


def test_last_epoch_has_no_time_left(screen: Screen) -> None:
    screen.tell()
    screen.tell(3.0, epoch=40, work_done=480)
    assert "epoch 40/40, about 0 s left" in screen.written[-1]


def test_clearing_removes_the_line(screen: Screen) -> None:
    screen.tell()
    screen.tell(3.0)
    screen.line.clear()
    assert screen.written[1:] == ["\n\x1b[2K\x1b[A\x1b[8G"]


def test_clearing_twice_writes_once(screen: Screen) -> None:
    screen.tell()
    screen.tell(3.0)
    screen.line.clear()
    screen.line.clear()
    assert len(screen.written) == 2


def test_next_work_is_quiet_at_first_again(screen: Screen) -> None:
    screen.tell()
    screen.tell(3.0)
    screen.line.clear()
    before = len(screen.written)
    screen.tell(10.0)
    screen.tell(1.0)
    assert len(screen.written) == before


def test_time_left_forgets_the_work_before(screen: Screen) -> None:
    screen.tell(work_done=480)
    screen.tell(50.0, work_done=480)
    screen.line.clear()
    screen.tell(1.0, bundle="two", work_done=0)
    screen.tell(3.0, bundle="two")
    assert "about 9 s left" in screen.written[-1]


def test_threads_do_not_write_at_once() -> None:
    inside, overlaps = 0, 0
    ticks = iter(range(10**6))

    def write(text: str) -> None:
        nonlocal inside, overlaps
        inside += 1
        overlaps += inside > 1
        threading.Event().wait(0.0005)
        inside -= 1

    # Every look at the clock is ten seconds later, so that every update writes.
    line = ProgressLine(write, lambda: 0, clock=lambda: 10.0 * next(ticks))

    def work(bundle: int) -> None:
        for epoch in range(1, 21):
            line.update(bundle, Progress(epoch, 20, 3, "lr", 3 * epoch, 60))

    threads = [threading.Thread(target=work, args=(bundle,)) for bundle in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert overlaps == 0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def config(pytestconfig: pytest.Config, *, file: io.StringIO, verbosity: int = 0, **more: Any) -> Any:
    reporter = TerminalReporter(pytestconfig, file)
    plugins = {"terminalreporter": reporter}
    manager = SimpleNamespace(get_plugin=plugins.get)
    return SimpleNamespace(pluginmanager=manager, get_verbosity=lambda: verbosity, **more)


def test_terminal_gets_a_line(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    file = Terminal()
    line = progress_line(config(pytestconfig, file=file))
    assert line is not None
    line._clock = iter([0.0, 3.0]).__next__
    for epoch in (1, 2):
        line.update("one", Progress(epoch, 4, 3, "lr", epoch, 4))
    assert "epoch 2/4" in file.getvalue()


def test_terminal_that_moves_no_cursor_gets_none(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert progress_line(config(pytestconfig, file=Terminal())) is None


def test_pipe_gets_none(pytestconfig: pytest.Config) -> None:
    assert progress_line(config(pytestconfig, file=io.StringIO())) is None


def test_quiet_run_gets_none(pytestconfig: pytest.Config) -> None:
    assert progress_line(config(pytestconfig, file=Terminal(), verbosity=-1)) is None


def test_worker_process_gets_none(pytestconfig: pytest.Config) -> None:
    assert progress_line(config(pytestconfig, file=Terminal(), workerinput={})) is None


def test_run_without_a_terminal_reporter_gets_none() -> None:
    bare: Any = SimpleNamespace(pluginmanager=SimpleNamespace(get_plugin=lambda name: None))
    assert progress_line(bare) is None
