"""Whichever call of the cache fails, or kills its process: no job fails, and what is kept is right."""

import itertools
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from gradshape_bench.cache import Cache, Fault
from tests.bench.schedule_sample import case, metrics
from tests.reliability import cache_calls
from tests.reliability.cache_calls import ERRORS, JOBS, Calls, failing, work

# Seconds that no process takes to begin, on a machine that does much else, too.
PATIENCE = 300


@pytest.fixture(scope="module")
def processes(forked_workers: None) -> ForkServerContext:
    """Makes processes, quickly: a server imports everything once and forks."""
    return multiprocessing.get_context("forkserver")


def _whole(folder: Path) -> None:
    """Check that a run after the disturbed one is right, and that the next one finds all of it whole."""
    work(Cache(folder))
    last = Cache(folder)
    assert work(last) == 0
    assert last.faults.line() is None


def _emptied(folders: Iterator[Path]) -> Iterator[tuple[int, Path]]:
    for number, folder in zip(itertools.count(1), folders, strict=False):
        yield number, folder
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize(
    ("before", "turn"),
    [
        *(("empty", turn) for turn in range(4)),
        *((before, turn) for before in ("finished", "damaged") for turn in (0, 2)),
    ],
)
def test_each_call_may_fail_once(before: str, turn: int, tmp_path: Path) -> None:
    for number, folder in _emptied(tmp_path / str(number) for number in itertools.count()):
        if before != "empty":
            work(Cache(folder))
        if before == "damaged":
            for path in folder.rglob("*.job"):
                path.write_bytes(b"damaged")
        calls = Calls(folder, number, failing(ERRORS[(number + turn) % len(ERRORS)]))
        with calls.watched():
            work(Cache(folder))
        _whole(folder)
        if calls.made < number:
            break
    assert number > 20


@pytest.mark.parametrize("error", ERRORS)
def test_all_calls_may_fail_from_one_on(error: int, tmp_path: Path) -> None:
    for number, folder in _emptied(tmp_path / str(number) for number in itertools.count()):
        if number % 5:
            continue
        calls = Calls(folder, number, failing(error), on=True)
        with calls.watched():
            work(Cache(folder))
        _whole(folder)
        if calls.made < number:
            break


def test_experiments_are_not_disturbed_by_calls_that_fail(tmp_path: Path) -> None:
    expected = metrics([case()], tmp_path / "whole")
    for number, folder in _emptied(tmp_path / str(number) for number in itertools.count()):
        if number % 9:
            continue
        calls = Calls(folder, number, failing(ERRORS[number // 9 % len(ERRORS)]))
        with calls.watched():
            assert metrics([case()], folder) == expected
        assert metrics([case()], folder) == expected
        if calls.made < number:
            break


def test_any_call_may_kill_the_process(processes: ForkServerContext, tmp_path: Path) -> None:
    statuses = []
    for number, folder in _emptied(tmp_path / str(number) for number in itertools.count()):
        if number % 3:
            continue
        process = processes.Process(target=cache_calls.work_until_killed, args=(folder, number))
        process.start()
        process.join()
        statuses.append(process.exitcode)
        _whole(folder)
        if process.exitcode == 0:
            break
    assert set(statuses[:-1]) == {-signal.SIGKILL}
    assert len(statuses) > 8


@pytest.mark.parametrize("count", [2, 4])
def test_processes_that_use_one_cache_do_each_job_once(
    count: int, processes: ForkServerContext, tmp_path: Path
) -> None:
    ready, counts = processes.Barrier(count), processes.Queue()
    crowd = [processes.Process(target=cache_calls.work_beside, args=(tmp_path, ready, counts)) for _ in range(count)]
    for process in crowd:
        process.start()
    done = sum(counts.get(timeout=PATIENCE) for _ in crowd)
    for process in crowd:
        process.join()
    assert [process.exitcode for process in crowd] == [0] * count
    assert done == 20 * len(JOBS)


def test_the_claim_of_a_killed_process_is_free(processes: ForkServerContext, tmp_path: Path) -> None:
    ready = processes.Barrier(2)
    process = processes.Process(target=cache_calls.claim_until_killed, args=(tmp_path, ready))
    process.start()
    ready.wait(PATIENCE)
    assert Cache(tmp_path).claim("name") is None
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    cache = Cache(tmp_path)
    claim = cache.claim("name")
    assert claim is not None
    claim.release()
    assert cache.faults.count(Fault.UNLOCKED) == 0
